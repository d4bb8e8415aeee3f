"""The learner: folds a rollout into sequences and takes update_epochs · num_minibatches steps on the loss."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo.advantages import gae
from ppo.config import Config
from ppo.errors import NonFiniteError, UsageError
from ppo.losses import STATS, LossTerms, ppo_loss
from ppo.normalize import RewardScaler
from ppo.policies import Policy
from ppo.rollout import Batch, Rollout

COLUMNS = (*STATS, "offender", "grad_norm")  # of an optimizer step's statistics
OPTIMIZER_STATE = {"adam": {"step", "exp_avg", "exp_avg_sq"}, "rmsprop": {"step", "square_avg"}}


class Learner:
    """Optimize a policy on rollouts.

    Args:
        policy: trained in place.
        config: sizes, coefficients, optimizer.
    """

    def __init__(self, policy: Policy, config: Config) -> None:
        self.policy, self.config = policy, config
        self.seq_len = config.sequence_length(recurrent=policy.state_size > 0)  # L
        self.terms = LossTerms(config.clip_coef, config.clip_vloss, config.vf_coef, config.ent_coef, config.norm_adv)
        self.optimizer: torch.optim.Optimizer
        if config.optimizer == "adam":
            self.optimizer = torch.optim.Adam(policy.parameters(), config.learning_rate, eps=1e-5, fused=True)
        else:
            self.optimizer = torch.optim.RMSprop(policy.parameters(), config.learning_rate, alpha=0.99, eps=1e-5)
        self.seconds = 0.0  # of the last update
        self.scaler = RewardScaler(config.gamma, config.num_envs) if config.scale_rewards else None

    def update(self, rollout: Rollout, progress: float) -> dict[str, float]:
        """Train on a rollout.

        Args:
            rollout: (T, N), on the policy's device.
            progress: share of the budget that is spent, for annealing.

        Returns:
            Means over the minibatches of the last epoch, and the explained variance before the first.

        Raises:
            NonFiniteError: a return, loss or gradient is NaN or infinite; it carries the minibatch.
        """
        config, begin = self.config, time.perf_counter()
        rate = config.learning_rate * ((1 - progress) if config.anneal_lr else 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rewards = self._scaled(rollout)
        batch = Batch.from_rollout(rollout, *self._estimate(rollout, rewards), self.seq_len)
        variance = explained_variance(batch)
        epochs: list[Tensor] = []  # (num_minibatches, statistics) each
        trained: list[tuple[Batch, Tensor]] = []  # the batch and the sequences of each optimizer step
        for epoch in range(config.update_epochs):
            if epoch and config.recompute_advantages:
                batch = batch.reweighed(*self._estimate(rollout.revalued(self.policy), rewards))
            order = torch.randperm(len(batch), device=batch.valid.device).chunk(config.num_minibatches)
            epochs.append(torch.stack([self._step(batch.select(index)) for index in order]))
            trained += [(batch, index) for index in order]
            if config.target_kl and epochs[-1].mean(0)[STATS.index("approx_kl")] > config.target_kl:
                break
        self._check(torch.cat(epochs), trained)
        stats = dict(zip(COLUMNS, epochs[-1].mean(0).tolist(), strict=True))
        del stats["offender"]  # a row's index, for `_check`
        self.seconds = time.perf_counter() - begin
        return stats | {"explained_variance": variance, "learning_rate": rate, "epochs": float(len(epochs))}

    def _step(self, minibatch: Batch) -> Tensor:
        """Take one optimizer step and return its statistics, in the order of COLUMNS."""
        dist, values, _ = self.policy(minibatch.obs, minibatch.states, minibatch.starts)
        loss, stats = ppo_loss(
            dist.log_prob(minibatch.actions), dist.entropy(), values, minibatch.log_probs, minibatch.values,
            minibatch.advantages, minibatch.returns, minibatch.valid, self.terms,
        )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        limit = self.config.max_grad_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), limit)
        self.optimizer.step()
        return torch.cat([stats, norm.detach().view(1)])

    def _scaled(self, rollout: Rollout) -> np.ndarray:
        rewards = rollout.rewards.cpu().numpy()
        if self.scaler is None:
            return rewards
        return self.scaler.scale(rewards, rollout.starts.cpu().numpy(), rollout.valid.cpu().numpy())

    def _estimate(self, rollout: Rollout, rewards: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return values, weights and returns (T, N); the weights are advantages, or returns without a baseline."""
        config = self.config
        columns = (rollout.values, rollout.next_values, rollout.terminated, rollout.truncated)
        values, next_values, terminated, truncated = (x.cpu().numpy() for x in columns)
        found = gae(rewards, values, next_values, terminated, truncated, config.gamma, config.gae_lambda)
        advantages = torch.from_numpy(found).to(rollout.values)  # (T, N)
        returns = advantages + rollout.values
        return rollout.values, advantages if config.baseline else returns, returns

    def _check(self, stats: Tensor, trained: list[tuple[Batch, Tensor]]) -> None:
        """Find the first optimizer step whose statistics are not finite; once an iteration, to spare round trips."""
        bad = (~torch.isfinite(stats)).nonzero()
        if len(bad) == 0:
            return
        number, column = bad[0].tolist()
        batch, index = trained[number]
        minibatch, row = batch.select(index), int(stats[number, COLUMNS.index("offender")])
        where = "in its gradient alone"
        if row >= 0:
            step, env = divmod(int(minibatch.rows.flatten()[row]), self.config.num_envs)
            where = f"first in environment {env} at step {step} of the rollout"
        raise NonFiniteError(
            f"{COLUMNS[column]} is not finite in optimizer step {number + 1} of the iteration, {where}", vars(minibatch)
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state and the reward statistics, flat, by name."""
        found: dict[str, Tensor] = {}
        for index, state in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
        if self.scaler is not None:
            found |= {f"scaler.{key}": value for key, value in self.scaler.stats.state_dict().items()}
        return found

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: the tensors are those of another optimizer, or of a run that scaled its rewards differently.
        """
        expected = OPTIMIZER_STATE[self.config.optimizer] | ({"scaler"} if self.scaler is not None else set())
        found = {
            name.rpartition(".")[2] if name.startswith("optimizer.") else name.partition(".")[0] for name in tensors
        }
        if found - {"policy"} != expected:
            raise UsageError(
                f"the checkpoint holds {', '.join(sorted(found - {'policy'}))} but optimizer = {self.config.optimizer!r} "
                f"and scale_rewards = {self.config.scale_rewards} need {', '.join(sorted(expected))}; leave them as they were"
            )
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.scaler is not None:
            prefix = "scaler."
            stats = {name[len(prefix) :]: x for name, x in tensors.items() if name.startswith(prefix)}
            self.scaler.stats.load_state_dict(stats)


def explained_variance(batch: Batch) -> float:
    """Return 1 − Var[R − V] / Var[R] over valid rows: 1 is perfect, 0 as good as a constant, NaN if R is constant."""
    values, returns = batch.values[batch.valid], batch.returns[batch.valid]
    variance = returns.var(correction=0)
    return float(1 - (returns - values).var(correction=0) / variance) if variance > 0 else float("nan")
