"""The learner: folds a rollout into sequences and takes update_epochs · num_minibatches steps on the loss."""

import math
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo.config import Config
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.advantages import gae, group_complete, group_relative, outcome_known
from ppo.loop.losses import STATS, ppo_loss
from ppo.loop.optimizers import MOMENTS, OPTIMIZERS, clip_
from ppo.loop.reward_scaling import RewardScaler
from ppo.loop.rollout import Batch, Estimates, Rollout
from ppo.machine.compile import Compiled
from ppo.machine.flat import FlatPolicy
from ppo.machine.phase import phase
from ppo.machine.process import Stop, never
from ppo.run.checkpoint import fits

COLUMNS = (*STATS, "offender", "grad_norm")  # of an optimizer step's statistics


class Step(NamedTuple):
    """An optimizer step that was taken."""

    batch: Batch
    sequences: Tensor  # (B',) of its minibatch
    stats: Tensor  # in the order of COLUMNS


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
        self.learning_rate = policy.vector.new_zeros(())
        self.moments = {"step": policy.vector.new_zeros(())}  # of the optimizer
        self.moments |= {name: torch.zeros_like(policy.vector) for name in MOMENTS[config.optimizer]}
        self.step = Compiled(self._step, policy, compiled, "optimizer step")
        self.seconds = 0.0  # of the last update
        self.scaler = RewardScaler(config.gamma, config.num_envs) if config.scale_rewards else None

    @phase("updating the policy")
    def update(self, rollout: Rollout, progress: float, stop: Stop = never) -> dict[str, float]:
        """Train on a rollout.

        Args:
            rollout: (T, N), on the policy's device.
            progress: fraction of the budget spent, for annealing.
            stop: asked after each optimizer step; True ends the update there.

        Returns:
            Means over the minibatches of the last epoch, and the explained variance before the first epoch.

        Raises:
            NonFiniteError: a loss or gradient is NaN or infinite; names the first such step, holds its minibatch.
        """
        begin, config = time.perf_counter(), self.config
        learning_rate = config.learning_rate * (1 - progress) if config.anneal_lr else config.learning_rate
        self.learning_rate.fill_(learning_rate)
        rewards = self._scale_rewards(rollout)
        batch = Batch.from_rollout(rollout, self._trained(rollout), self._estimates(rollout, rewards), self.seq_len)
        variance = explained_variance(batch)
        state = (self.learning_rate, *self.moments.values())
        size = batch.num_sequences // config.num_minibatches
        compiling = time.perf_counter()
        step = self.step.bind(*batch, torch.arange(size, device=batch.rows.device), *state)
        begin += time.perf_counter() - compiling
        epochs: list[list[Step]] = []
        for epoch in range(config.update_epochs):
            if epoch and config.recompute_advantages:
                batch = batch.with_estimates(self._estimates(rollout.with_values(self.policy.forward), rewards))
            epochs.append([])
            for index in torch.randperm(batch.num_sequences, device=batch.valid.device).split(size):
                epochs[-1].append(Step(batch, index, step(*batch, index, *state)[0]))
                if stop():
                    break
            means = torch.stack([taken.stats for taken in epochs[-1]]).mean(0)
            if stop() or (config.target_kl and means[STATS.index("approx_kl")] > config.target_kl):
                break
        self._check([taken for epoch_steps in epochs for taken in epoch_steps])
        stats = dict(zip(COLUMNS, means.tolist(), strict=True))
        del stats["offender"]  # a row's index, for `_check`
        self.seconds = time.perf_counter() - begin
        return stats | {
            "explained_variance": variance, "learning_rate": learning_rate, "epochs": float(len(epochs)),
        }  # fmt: skip

    def _step(self, policy: FlatPolicy, *tensors: Tensor) -> tuple[Tensor]:
        """Take one optimizer step on a minibatch and return its statistics, in the order of COLUMNS.

        The tensors are the columns of the batch, the minibatch's index (B,), the learning rate and the optimizer's moments.
        """
        columns = len(Batch._fields)
        index, learning_rate, *moments = tensors[columns:]
        minibatch = Batch(*tensors[:columns]).select(index)
        with torch.enable_grad():
            dist, values, _ = policy.forward(minibatch.obs, minibatch.states, minibatch.starts)
            loss, stats = ppo_loss(
                dist.log_prob(minibatch.actions), dist.entropy(), values, minibatch.log_probs, minibatch.values,
                minibatch.advantages, minibatch.returns, minibatch.valid, self.config,
            )  # fmt: skip
            gradient = policy.gradient(loss)
        return (torch.cat([stats, self._move(policy, gradient, learning_rate, *moments).view(1)]),)

    @torch.no_grad()
    def _move(self, policy: FlatPolicy, gradient: Tensor, learning_rate: Tensor, *moments: Tensor) -> Tensor:
        """Move the policy's vector by a gradient (P,), and return the gradient's norm before it is clipped."""
        norm = clip_(gradient, self.config.max_grad_norm)
        OPTIMIZERS[self.config.optimizer](policy.vector, gradient, learning_rate, *moments)
        return norm

    def descend(self, loss: Tensor, learning_rate: float) -> float:
        """Take one optimizer step on a loss other than PPO's, and return the loss.

        Raises:
            NonFiniteError: it is NaN or infinite.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value}; lower learning_rate", {})
        self.learning_rate.fill_(learning_rate)
        self._move(self.policy, self.policy.gradient(loss), self.learning_rate, *self.moments.values())
        return value

    def _scale_rewards(self, rollout: Rollout) -> np.ndarray:
        rewards = (rollout.rewards - rollout.penalties).cpu().numpy()
        return rewards if self.scaler is None else self.scaler.scale(rewards, *_on_host(rollout.starts, rollout.valid))

    def _trained(self, rollout: Rollout) -> Tensor:
        """Return (T, N) bool: the decisions to train on, those whose outcome is known."""
        valid, done, next_valid = _on_host(rollout.valid, rollout.done, rollout.next_valid)
        groups = self.config.group_size
        known = group_complete(done, groups) if groups > 1 else outcome_known(valid, done, next_valid)
        return rollout.valid & torch.from_numpy(known).to(rollout.valid.device)

    def _estimates(self, rollout: Rollout, rewards: np.ndarray) -> Estimates:
        config = self.config
        values, next_values = _on_host(rollout.values, rollout.next_values)
        terminated, truncated, valid = _on_host(rollout.terminated, rollout.truncated, rollout.valid)
        (next_valid,) = _on_host(rollout.next_valid)
        flags, trace = (terminated, truncated, valid), (config.gamma, config.gae_lambda)
        host = gae(rewards, values, next_values, *flags, *trace, next_valid)
        advantages = torch.from_numpy(host).to(rollout.values)  # (T, N)
        returns = advantages + rollout.values
        weights = advantages if config.baseline else returns
        if config.group_size > 1:
            raw, penalties = _on_host(rollout.rewards, rollout.penalties)
            weights = group_relative(raw, penalties, terminated | truncated, config.group_size).to(weights)
        return Estimates(rollout.values, weights, returns)

    def _check(self, steps: list[Step]) -> None:
        """Find the first optimizer step whose statistics are not finite; once an iteration, to avoid round trips."""
        stats = torch.stack([taken.stats for taken in steps])  # (optimizer steps, statistics)
        bad = (~torch.isfinite(stats)).nonzero()
        if len(bad) == 0:
            return
        number, column = bad[0].tolist()
        batch, index, _ = steps[number]
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
        tensors = {f"optimizer.{name}": x for name, x in self.moments.items()}
        if self.scaler is not None:
            tensors |= {f"scaler.{key}": value for key, value in self.scaler.stats.state_dict().items()}
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: the tensors belong to another optimizer, or to a run that scaled its rewards differently.
        """
        own = self.state_dict()
        stored = {name: x for name, x in tensors.items() if not name.startswith(("policy.", "reference.", "task."))}
        if stored.keys() != own.keys() or not all(fits(stored[name], x) for name, x in own.items()):
            raise UsageError(
                f"the checkpoint holds {_described(stored)}, but optimizer = {self.config.optimizer!r} and scale_rewards = "
                f"{self.config.scale_rewards} need {_described(own)}; keep the run's settings"
            )
        for name, tensor in own.items():
            tensor.copy_(stored[name])


def _described(tensors: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {str(x.dtype)[6:]} {tuple(x.shape)}" for name, x in sorted(tensors.items()))


def _on_host(*tensors: Tensor) -> list[np.ndarray]:
    return [x.cpu().numpy() for x in tensors]


def explained_variance(batch: Batch) -> float:
    """Return 1 − Var[R − V] / Var[R] over valid rows: 1 is perfect, 0 as good as a constant, NaN if R is constant."""
    values, returns = batch.values[batch.valid], batch.returns[batch.valid]
    variance = returns.var(correction=0) if len(returns) else returns.new_zeros(())
    return float(1 - (returns - values).var(correction=0) / variance) if variance > 0 else float("nan")
