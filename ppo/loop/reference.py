"""The reference policy: frozen; the trained policy pays a KL penalty for moving away from it, in its rewards or its loss."""

import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ppo.config.schedule import Schedule
from ppo.errors import UsageError
from ppo.loop.losses import valid_mean
from ppo.loop.rollout import Rollout
from ppo.policies import Policy
from ppo.run.checkpoint import fits

REFERENCE = tuple(f"reference/{name}" for name in ("kl", "k3", "exact", "kl_episode", "coef"))  # tags
MAX_ERROR = 0.2  # clip of the relative error KL / target − 1 (Ziegler et al. 2019, section 2.2)


class Reference:
    """Subtract β (log π(a) − log π_ref(a)) from the reward of each decision, and adapt β if there is a target.

    In expectation this is β KL(π ‖ π_ref) of whole episodes, and so is its gradient. Lower-variance estimators are logged but
    not used as a reward, since their gradient differs: the exact divergence at a state does not depend on the action taken there.
    In the loss it is another penalty, that of each state by itself (`Distribution.divergence`).

    Args:
        policy: the reference, on the device of the trained policy, with the same temperature and no top-k or top-p.
        coef: β by the share of the budget.
        target: nats per episode, to which β adapts from its start on; 0: β follows `coef`.
        horizon: episodes over which β is adapted: β ← β (1 + clip(KL / target − 1, ±0.2) · episodes / horizon).
        sha256: of the reference's checkpoint.
        in_loss: leave the rewards as they are, and tell the loss what the reference thinks.
    """

    def __init__(
        self, policy: Policy, coef: Schedule, target: float, horizon: int, sha256: str = "", in_loss: bool = False
    ) -> None:
        self.policy = policy.requires_grad_(False)
        self.schedule, self.coef = coef, torch.zeros((), dtype=torch.float64)
        self.restart()
        self.sha256 = torch.tensor(list(bytes.fromhex(sha256)), dtype=torch.uint8)
        self.target, self.horizon, self.in_loss = target, horizon, in_loss
        self.seconds = 0.0  # of the last `penalize`
        self.state = policy.initial_state(1)  # (N, H); an episode's first row ignores it
        self.under_way = self.state.new_zeros(1)  # (N,) log-ratios of the episodes under way, summed

    @torch.no_grad()
    def penalize(self, rollout: Rollout, policy: Any, spent: float = 0.0) -> tuple[Rollout, dict[str, float]]:
        """Return the rollout with the penalty of each decision, and statistics by TensorBoard tag.

        Args:
            rollout: collected by the policy, which must not have been updated since.
            policy: (obs, state, starts) -> dist, values, state.
            spent: share of the budget.
        """
        begin = time.perf_counter()
        if len(self.state) != rollout.valid.shape[1]:
            self.state = self.policy.initial_state(rollout.valid.shape[1])
            self.under_way = self.state.new_zeros(len(self.state))
        # Both policies run over the whole rollout in the same way, so that equal policies differ by exactly 0.
        dist = policy(rollout.obs, rollout.states[0], rollout.starts)[0]
        ref, _, self.state = self.policy(rollout.obs, self.state, rollout.starts)
        kl = torch.where(rollout.valid, dist.log_prob(rollout.actions) - ref.log_prob(rollout.actions), 0.0)  # (T, N)
        if not self.target:
            self.coef.fill_(self.schedule.at(spent))
        coef = self.coef.to(kl)
        if self.in_loss:
            penalized = replace(rollout, reference=ref.parameters(), kl_coefs=coef.expand_as(kl))
        else:
            penalized = replace(rollout, penalties=coef * kl)
        # k3 is unbiased and never negative (Schulman 2020).
        estimators = {"kl": kl, "k3": torch.expm1(-kl) + kl, "exact": dist.divergence(ref.parameters())}
        stats = {f"reference/{name}": float(valid_mean(x, rollout.valid)) for name, x in estimators.items()}
        sums = self._sums(kl, rollout)
        per_episode = float(sums.mean()) if len(sums) else math.nan
        stats |= {"reference/kl_episode": per_episode, "reference/coef": float(self.coef)}
        self._adapt(per_episode, len(sums))
        self.seconds = time.perf_counter() - begin
        return penalized, stats

    def _sums(self, kl: Tensor, rollout: Rollout) -> Tensor:
        """Return kl (T, N) summed over each episode that ended, (E,), including its part in earlier rollouts."""
        sums = []
        for row, starts, done in zip(kl, rollout.starts, rollout.done, strict=True):
            self.under_way = torch.where(starts, 0.0, self.under_way) + row
            sums.append(self.under_way[done])
        return torch.cat(sums)

    def _adapt(self, kl: float, episodes: int) -> None:
        if self.target and episodes:
            error = min(max(kl / self.target - 1, -MAX_ERROR), MAX_ERROR)
            self.coef *= 1 + error * min(episodes / self.horizon, 1.0)

    def restart(self) -> None:
        """Let β begin again at its start."""
        self.coef.fill_(self.schedule.at(0.0))

    def state_dict(self) -> dict[str, Tensor]:
        """Return β and the digest of the reference policy, by name."""
        return {"reference.coef": self.coef, "reference.sha256": self.sha256}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: the run had no reference policy, or another one.
        """
        if "reference.sha256" not in tensors:
            raise UsageError(
                "this run has no reference policy; to add one, start a new run: "
                "ppo train … --init-from RUN --reference REFERENCE",
                page="text#a-reference-policy",
            )
        if not torch.equal(tensors["reference.sha256"], self.sha256):
            raise UsageError(
                "the reference run's latest policy has changed since this run began; "
                "give --reference a copy of the original",
                page="text#a-reference-policy",
            )
        if not fits(tensors.get("reference.coef", self.sha256), self.coef):
            raise UsageError("the checkpoint is damaged: it has no reference.coef; use another one")
        self.coef.copy_(tensors["reference.coef"])
