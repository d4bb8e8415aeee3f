"""The reference: a frozen policy that the trained one is kept near, by a penalty docked from its rewards."""

import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ppo.errors import UsageError
from ppo.loop.losses import valid_mean
from ppo.loop.rollout import Rollout
from ppo.policies import Policy
from ppo.policies.distributions import Categorical

STEP = 0.2  # bounds how far off its target a KL is taken to be (Ziegler et al. 2019, section 2.2)


class Reference:
    """Dock β (log π(a) − log π_ref(a)) from the reward of each decision, and adapt β where a target is given.

    In expectation this is β KL(π ‖ π_ref), and so is its gradient. Other estimators have less variance, but as a reward
    another gradient: the exact divergence at a state does not depend on the action taken there. They are reported.

    Args:
        policy: the reference, on the device of the trained one; it acts under the same temperature, among all actions.
        coef: β at the start.
        target: nats an episode; 0 leaves β as it is.
        horizon: episodes over which β is adapted: β ← β (1 + clip(KL / target − 1, ±0.2) · episodes / horizon).
        sha256: of the checkpoint that the policy was read from.
    """

    def __init__(self, policy: Policy, coef: float, target: float, horizon: int, sha256: str = "") -> None:
        self.policy = policy.requires_grad_(False)
        self.coef = torch.tensor(coef, dtype=torch.float64)
        self.sha256 = torch.tensor(list(bytes.fromhex(sha256)), dtype=torch.uint8)
        self.target, self.horizon = target, horizon
        self.seconds = 0.0  # of the last `penalize`
        self.state = policy.initial_state(1)  # (N, H); an episode's first row does not look at it
        self.under_way = torch.zeros(1)  # (N,) log-ratios of the episodes under way, summed

    @torch.no_grad()
    def penalize(self, rollout: Rollout, policy: Any) -> tuple[Rollout, dict[str, float]]:
        """Return the rollout with its rewards docked, and what was measured; before the first update.

        Args:
            rollout: that the policy collected.
            policy: (obs, state, starts) -> dist, values, state.
        """
        begin = time.perf_counter()
        if len(self.state) != rollout.valid.shape[1]:
            self.state = self.policy.initial_state(rollout.valid.shape[1])
            self.under_way = self.state.new_zeros(len(self.state))
        # Both in the same way over the whole rollout, so that equal policies differ by nothing, not by a rounding.
        dist = policy(rollout.obs, rollout.states[0], rollout.starts)[0]
        ref, _, self.state = self.policy(rollout.obs, self.state, rollout.starts)
        kl = torch.where(rollout.valid, dist.log_prob(rollout.actions) - ref.log_prob(rollout.actions), 0.0)  # (T, N)
        docked = replace(rollout, rewards=rollout.rewards - self.coef.to(kl) * kl)
        found = {"kl": kl, "k3": torch.expm1(-kl) + kl}  # Schulman (2020): never negative, unbiased as well
        if isinstance(dist, Categorical):
            found["exact"] = divergence(dist, ref)
        stats = {f"reference/{name}": float(valid_mean(x, rollout.valid)) for name, x in found.items()}
        sums = self._sums(kl, rollout)
        per_episode = float(sums.mean()) if len(sums) else math.nan
        stats |= {"reference/kl_episode": per_episode, "reference/coef": float(self.coef)}
        self._adapt(per_episode, len(sums))
        self.seconds = time.perf_counter() - begin
        return docked, stats

    def _sums(self, kl: Tensor, rollout: Rollout) -> Tensor:
        """Return kl (T, N) summed over each episode that ended, (E,), also where it began in a rollout before."""
        found, done = [], rollout.terminated | rollout.truncated
        for row, begun, ended in zip(kl, rollout.starts, done, strict=True):
            self.under_way = torch.where(begun, 0.0, self.under_way) + row
            found.append(self.under_way[ended])
        return torch.cat(found)

    def _adapt(self, kl: float, episodes: int) -> None:
        if self.target and episodes:
            error = min(max(kl / self.target - 1, -STEP), STEP)
            self.coef *= 1 + error * min(episodes / self.horizon, 1.0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return β and which policy the reference is, by name."""
        return {"reference.coef": self.coef, "reference.sha256": self.sha256}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: the reference is another policy than it was, or there was none.
        """
        if "reference.sha256" not in tensors:
            raise UsageError(
                "the run had no reference, and --reference says where one has moved; to keep near one from here on, "
                "ppo train with --init-from the run"
            )
        if not torch.equal(tensors["reference.sha256"], self.sha256):
            raise UsageError(
                "the run that is the reference has another policy than before; give --reference a copy of it"
            )
        self.coef.copy_(tensors["reference.coef"])


def divergence(dist: Categorical, ref: Categorical) -> Tensor:
    """Return KL(π ‖ π_ref) = Σ π (log π − log π_ref), without the actions' dimension."""
    return (dist.log_probs.exp() * (dist.log_probs - ref.log_probs)).sum(-1)
