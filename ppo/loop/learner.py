"""The learner: folds a rollout into sequences and takes update_epochs · num_minibatches steps on the loss."""

import math
import time

import numpy as np
import torch
from torch import Tensor

from ppo.config import Config
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.advantages import gae, rewards_to_go
from ppo.loop.losses import STATS, LossTerms, ppo_loss
from ppo.loop.optimizers import MOMENTS, OPTIMIZERS, clip_
from ppo.loop.reward_scaling import RewardScaler
from ppo.loop.rollout import Batch, Rollout
from ppo.machine.compile import Compiled
from ppo.machine.flat import FlatPolicy

COLUMNS = (*STATS, "offender", "grad_norm")  # of an optimizer step's statistics


class Learner:
    """Optimize a policy on rollouts.

    Args:
        policy: trained in place.
        config: sizes, coefficients, optimizer.
        compiled: run the optimizer step as machine code.
    """

    def __init__(self, policy: FlatPolicy, config: Config, compiled: bool = False) -> None:
        self.policy, self.config = policy, config
        self.seq_len = config.sequence_length(recurrent=policy.module.state_size > 0)  # L
        self.terms = LossTerms(config.clip_coef, config.clip_vloss, config.vf_coef, config.ent_coef, config.norm_adv)
        self.rate = policy.vector.new_zeros(())
        self.moments = {"step": policy.vector.new_zeros(())}  # of the optimizer
        self.moments |= {name: torch.zeros_like(policy.vector) for name in MOMENTS[config.optimizer]}
        self.step = Compiled(self._step, policy, compiled)
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
            NonFiniteError: a loss or gradient is NaN or infinite; names the first culprit, holds the minibatch.
        """
        begin, config = time.perf_counter(), self.config
        rate = config.learning_rate * (1 - progress) if config.anneal_lr else config.learning_rate
        self.rate.fill_(rate)
        rewards = self._scaled(rollout)
        batch = Batch.from_rollout(rollout, *self._estimate(rollout, rewards), self.seq_len)
        variance = explained_variance(batch)
        state = (self.rate, *self.moments.values())
        size = batch.num_sequences // config.num_minibatches
        compiling = time.perf_counter()
        step = self.step.bind(*batch, torch.arange(size, device=batch.rows.device), *state)
        begin += time.perf_counter() - compiling
        epochs: list[Tensor] = []  # (num_minibatches, statistics) each
        trained: list[tuple[Batch, Tensor]] = []  # the batch and the sequences of each optimizer step
        for epoch in range(config.update_epochs):
            if epoch and config.recompute_advantages:
                batch = batch.reweighed(*self._estimate(rollout.revalued(self.policy.forward), rewards))
            order = torch.randperm(batch.num_sequences, device=batch.valid.device).split(size)
            epochs.append(torch.stack([step(*batch, index, *state)[0] for index in order]))
            trained += [(batch, index) for index in order]
            if config.target_kl and epochs[-1].mean(0)[STATS.index("approx_kl")] > config.target_kl:
                break
        self._check(torch.cat(epochs), trained)
        stats = dict(zip(COLUMNS, epochs[-1].mean(0).tolist(), strict=True))
        del stats["offender"]  # a row's index, for `_check`
        self.seconds = time.perf_counter() - begin
        return stats | {"explained_variance": variance, "learning_rate": rate, "epochs": float(len(epochs))}

    def _step(self, policy: FlatPolicy, *tensors: Tensor) -> tuple[Tensor]:
        """Take one optimizer step on a minibatch and return its statistics, in the order of COLUMNS.

        The tensors are the columns of the batch, the minibatch's index (B,), the step size and the optimizer's moments.
        """
        columns = len(Batch._fields)
        index, rate, *moments = tensors[columns:]
        minibatch = Batch(*tensors[:columns]).select(index)
        with torch.enable_grad():
            dist, values, _ = policy.forward(minibatch.obs, minibatch.states, minibatch.starts)
            loss, stats = ppo_loss(
                dist.log_prob(minibatch.actions), dist.entropy(), values, minibatch.log_probs, minibatch.values,
                minibatch.advantages, minibatch.returns, minibatch.valid, self.terms,
            )  # fmt: skip
            gradient = policy.gradient(loss)
        return (torch.cat([stats, self._move(policy, gradient, rate, *moments).view(1)]),)

    @torch.no_grad()
    def _move(self, policy: FlatPolicy, gradient: Tensor, rate: Tensor, *moments: Tensor) -> Tensor:
        """Move the policy's vector by a gradient (P,), and return the gradient's norm before it is clipped."""
        norm = clip_(gradient, self.config.max_grad_norm)
        OPTIMIZERS[self.config.optimizer](policy.vector, gradient, rate, *moments)
        return norm

    def descend(self, loss: Tensor, rate: float) -> float:
        """Take one optimizer step on a loss that is not PPO's, and return it.

        Raises:
            NonFiniteError: it is NaN or infinite.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value}; lower learning_rate", {})
        self.rate.fill_(rate)
        self._move(self.policy, self.policy.gradient(loss), self.rate, *self.moments.values())
        return value

    def _scaled(self, rollout: Rollout) -> np.ndarray:
        rewards = rollout.rewards.cpu().numpy()
        if self.scaler is None:
            return rewards
        return self.scaler.scale(rewards, rollout.starts.cpu().numpy(), rollout.valid.cpu().numpy())

    def _estimate(self, rollout: Rollout, rewards: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return values, weights and returns (T, N); the weights are advantages, or returns without a baseline."""
        config = self.config
        columns = (rollout.values, rollout.next_values, rollout.terminated, rollout.truncated, rollout.valid)
        values, next_values, terminated, truncated, valid = (x.cpu().numpy() for x in columns)
        flags, next_valid = (terminated, truncated, valid), rollout.next_valid.cpu().numpy()
        found = gae(rewards, values, next_values, *flags, config.gamma, config.gae_lambda, next_valid)
        advantages = torch.from_numpy(found).to(rollout.values)  # (T, N)
        returns = advantages + rollout.values
        weights = advantages if config.baseline else returns
        if config.group_size > 1:  # a group that is cut weighs what it has earned so far
            earned = rewards_to_go(rewards, terminated | truncated)
            groups = torch.from_numpy(earned).unflatten(1, (-1, config.group_size))  # (T, N / G, G)
            relative = groups - groups.mean(2, keepdim=True)
            weights = (relative / (groups.std(2, correction=0, keepdim=True) + 1e-4)).flatten(1).to(weights)
        return rollout.values, weights, returns

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
            f"{COLUMNS[column]} is not finite in optimizer step {number + 1} of the iteration, {where}",
            minibatch._asdict(),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's moments and the reward statistics, by name."""
        found = {f"optimizer.{name}": x for name, x in self.moments.items()}
        if self.scaler is not None:
            found |= {f"scaler.{key}": value for key, value in self.scaler.stats.state_dict().items()}
        return found

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: the tensors are those of another optimizer, or of a run that scaled its rewards differently.
        """
        own = self.state_dict()
        found = {name: x for name, x in tensors.items() if not name.startswith(("policy.", "reference."))}
        if {name: x.shape for name, x in found.items()} != {name: x.shape for name, x in own.items()}:
            raise UsageError(
                f"the checkpoint holds {', '.join(sorted(found))} but optimizer = {self.config.optimizer!r} "
                f"and scale_rewards = {self.config.scale_rewards} need {', '.join(sorted(own))}; leave them as they were"
            )
        for name, tensor in own.items():
            tensor.copy_(found[name])


def explained_variance(batch: Batch) -> float:
    """Return 1 − Var[R − V] / Var[R] over valid rows: 1 is perfect, 0 as good as a constant, NaN if R is constant."""
    values, returns = batch.values[batch.valid], batch.returns[batch.valid]
    variance = returns.var(correction=0) if len(returns) else returns.new_zeros(())
    return float(1 - (returns - values).var(correction=0) / variance) if variance > 0 else float("nan")
