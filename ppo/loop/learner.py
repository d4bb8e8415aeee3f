"""The learner: folds a rollout into sequences and takes update_epochs · num_minibatches steps on the loss."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ppo.config import Config
from ppo.config.lengths import sequence_length
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.batch import Batch, Minibatch
from ppo.loop.coefficients import Coefficients
from ppo.loop.estimates import Estimator, explained_variance
from ppo.loop.losses import STATS, Coefs, ppo_loss
from ppo.loop.optimizers import MOMENTS, OPTIMIZERS, clip_
from ppo.loop.rollout import Rollout
from ppo.loop.warmup import Warmup
from ppo.machine.compile import Compiled
from ppo.machine.distributed import RankLost, any_rank, follow_first, gathered, part_of, rank, size, sum_
from ppo.machine.flat import FlatPolicy
from ppo.machine.phase import phase
from ppo.machine.process import Stop, never
from ppo.run.checkpoint import described, fits

COLUMNS = (*STATS, "grad_norm", "offender")  # of an optimizer step's statistics
KL, FAR = STATS.index("approx_kl"), 1.0  # beyond it most ratios vanish, and no gradient leads back
ROWS = len(Batch._fields)  # tensors of a minibatch; its count and the coefficients of the loss follow


class Step(NamedTuple):
    """An optimizer step that was taken."""

    batch: Batch
    sequences: Tensor  # (B',) of this rank's part of its minibatch
    stats: Tensor  # in the order of COLUMNS


class Learner:
    """Optimize a policy on rollouts.

    Every rank has the whole rollout. Where minibatches are large, each computes the gradient of its part of them, and the parts
    are summed; where they are small, rank 0 computes all, and the others take over its weights.

    Args:
        policy: trained in place.
        config: sizes, coefficients, optimizer.
        compiled: run the optimizer step as machine code.
        written: see `Estimator`.
    """

    def __init__(self, policy: FlatPolicy, config: Config, compiled: bool = False, written: bool = False) -> None:
        self.policy, self.config = policy, config
        self.seq_len = sequence_length(config, recurrent=policy.module.state_size > 0)  # L
        self.coefs = Coefficients(config, policy.vector)
        self.moments = {"step": policy.vector.new_zeros(())}  # of the optimizer
        self.moments |= {name: torch.zeros_like(policy.vector) for name in MOMENTS[config.optimizer]}
        self.warmup = Warmup(policy, config.critic_warmup)
        sequences = config.batch_size // self.seq_len // config.num_minibatches
        self.part = part_of(sequences, self.seq_len * len(policy.vector))
        self.shares = self.part.stop - self.part.start < sequences
        self.step = Compiled(self._step, policy, compiled and not self.shares, "optimizer step")
        self.gradient = Compiled(self._gradient, policy, compiled and self.shares, "gradient")
        self.move = Compiled(self._move, policy, compiled and self.shares, "optimizer step")
        self.seconds = self.compile_seconds = 0.0  # of the last update, without compiling; of compiling
        self.estimator = Estimator(config, written)
        self.trained = False  # on any row so far

    def update(self, rollout: Rollout, progress: float, stop: Stop = never) -> dict[str, float]:
        """Train on a rollout.

        Args:
            rollout: (T, N), on the policy's device.
            progress: share of the budget spent, for schedules.
            stop: asked after each optimizer step; True ends the update there.

        Returns:
            Means over the minibatches of the last epoch that have rows to train on, NaN without one; and the explained variance
            before the first epoch.

        Raises:
            NonFiniteError: a loss or gradient is NaN or infinite; names the first such step, holds its minibatch.
        """
        begin = time.perf_counter()
        stats = self._update(rollout, progress, stop) if self.shares or rank() == 0 else {}
        if size() > 1 and not self.shares:
            tensors = [self.policy.vector, *self.state_dict().values(), *self.coefs.adapted.values()]
            stats = follow_first(tensors, stats)
        self.trained = self.trained or not math.isnan(stats["entropy"])
        self.seconds = time.perf_counter() - begin - self.compile_seconds
        return stats

    def _rows(self, minibatch: Minibatch) -> tuple[Tensor, ...]:
        return (*minibatch.batch, minibatch.total, *self.coefs.loss)  # the arguments of `_gradient`

    def _state(self) -> tuple[Tensor, ...]:
        return (self.coefs.learning_rate, *self.moments.values(), *self.warmup.learns)  # the last arguments of `_move`

    def calls(self, example: Minibatch) -> list[tuple[Compiled, tuple[Tensor, ...]]]:
        """Return the functions of an optimizer step, with the arguments that they are compiled for."""
        rows, state = self._rows(example), self._state()
        if not self.shares:
            return [(self.step, (*rows, *state))]
        sums = self.policy.vector.new_zeros(len(self.policy.vector) + len(STATS))
        return [(self.gradient, rows), (self.move, (sums, *state))]

    @phase("updating the policy")
    def _update(self, rollout: Rollout, progress: float, stop: Stop) -> dict[str, float]:
        config, self.compile_seconds = self.config, 0.0
        self.coefs.follow(rollout)
        coefs = self.coefs.set(progress)
        rewards = self.estimator.rewards(rollout)
        estimates = self.estimator.estimates(rollout, rewards, self.coefs.gamma)
        batch = Batch.from_rollout(rollout, self.estimator.trained(rollout), estimates, self.seq_len)
        variance = explained_variance(batch.values, batch.returns, batch.valid)
        epochs: list[list[Step]] = []
        for epoch in range(config.update_epochs):
            if epoch and config.recompute_advantages:
                again = rollout.with_values(self.policy.forward)
                batch = batch.with_estimates(self.estimator.estimates(again, rewards, self.coefs.gamma))
            order = torch.randperm(batch.num_sequences, device=batch.valid.device).view(config.num_minibatches, -1)
            minibatches = batch.minibatches(order, self.part, config.norm_adv)
            if not epoch:
                self.warmup.begin(minibatches[0].batch, self.moments)
                compiling = time.perf_counter()
                step = self._bind(minibatches[0])
                self.compile_seconds = time.perf_counter() - compiling
            epochs.append([])
            for index, minibatch in zip(order[:, self.part], minibatches, strict=True):
                epochs[-1].append(Step(batch, index, step(minibatch)))
                if not self.shares and stop():
                    break
            stats = torch.stack([taken.stats for taken in epochs[-1]])
            # A minibatch may have no row to train on, of which the zeros are no measurement.
            some = batch.valid[:, order].any(2).any(0)[: len(stats), None].to(stats)
            means = (stats * some).sum(0) / some.sum()
            told = any_rank(stop()) if self.shares else stop()
            if told or (self.coefs.largest_kl and means[KL] > self.coefs.largest_kl):
                break
        withheld = self._check([taken for epoch_steps in epochs for taken in epoch_steps])
        measured = dict(zip(COLUMNS[:-1], means[:-1].tolist(), strict=True))  # without a row's index, for `_check`
        if not self.warmup.on and some.any():  # in a warm-up, KL is 0 and entropy constant
            self.coefs.adapt(measured)
        return measured | {"explained_variance": variance, "epochs": float(len(epochs)), "withheld": withheld} | coefs

    def _bind(self, example: Minibatch) -> Callable[[Minibatch], Tensor]:
        """Return the function that takes an optimizer step on a minibatch, and returns its statistics, as COLUMNS."""
        first, *rest = [function.bind(*arguments) for function, arguments in self.calls(example)]
        state = self._state()
        if not rest:
            return lambda minibatch: first(*self._rows(minibatch), *state)[0]

        def shared_step(minibatch: Minibatch) -> Tensor:
            sums, offender = first(*self._rows(minibatch))
            return torch.cat([rest[0](sum_(sums), *state)[0], offender])

        return shared_step

    def _step(self, policy: FlatPolicy, *tensors: Tensor) -> tuple[Tensor]:
        """Take one optimizer step on a minibatch and return its statistics, in the order of COLUMNS.

        The tensors are the minibatch's columns and count, the coefficients, the learning rate and the optimizer's moments.
        """
        columns = ROWS + 1 + len(Coefs._fields)
        sums, offender = self._gradient(policy, *tensors[:columns])
        return (torch.cat([self._move(policy, sums, *tensors[columns:])[0], offender]),)

    def _gradient(self, policy: FlatPolicy, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient (P,) with STATS behind it, sums over a minibatch's parts, and the first row that is not finite (1,)."""
        minibatch, count, coefs = Batch(*tensors[:ROWS]), tensors[ROWS], Coefs(*tensors[ROWS + 1 :])
        with torch.enable_grad():
            dist, values, _ = policy.forward(minibatch.obs, minibatch.states, minibatch.starts)
            log_probs, near = dist.log_prob(minibatch.actions), minibatch.reference
            penalty = minibatch.kl_coefs * dist.divergence(near) if near.shape[-1] else None
            loss, stats = ppo_loss(
                log_probs, dist.entropy(), values, minibatch.log_probs, minibatch.values, minibatch.advantages,
                minibatch.returns, minibatch.valid, coefs, self.config.clip_vloss, count, penalty,
            )  # fmt: skip
            gradient = policy.gradient(loss)
        return torch.cat([gradient, stats[:-1]]), stats[-1:]

    def _move(self, policy: FlatPolicy, sums: Tensor, learning_rate: Tensor, *moments: Tensor) -> tuple[Tensor]:
        """Move the policy by a gradient with STATS behind it, if it is near and a row trains; return those and the gradient's norm."""
        gradient, stats = sums.split([len(policy.vector), len(STATS)])
        gradient, *moments = self.warmup.apply(gradient, *moments)  # type: ignore[assignment]
        learning_rate = learning_rate * (stats[KL] <= FAR) * stats.any()  # an `if` would take a round trip
        return (torch.cat([stats, self._optimize(policy, gradient, learning_rate, *moments).view(1)]),)

    @torch.no_grad()
    def _optimize(self, policy: FlatPolicy, gradient: Tensor, learning_rate: Tensor, *moments: Tensor) -> Tensor:
        """Move the policy's vector by a gradient (P,), and return the gradient's norm before it is clipped."""
        norm = clip_(gradient, self.config.max_grad_norm)
        OPTIMIZERS[self.config.optimizer](policy.vector, gradient, learning_rate, *moments)
        return norm

    def descend(self, loss: Tensor, learning_rate: float) -> float:
        """Take one optimizer step on a loss other than PPO's, the sum of the ranks' losses, and return that.

        Raises:
            NonFiniteError: it is NaN or infinite.
        """
        sums = sum_(torch.cat([self.policy.gradient(loss), loss.detach().view(1)]))
        value = float(sums[-1])
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value}; lower learning_rate", {})
        self.coefs.learning_rate.fill_(learning_rate)
        self._optimize(self.policy, sums[:-1], self.coefs.learning_rate, *self.moments.values())
        return value

    def _check(self, steps: list[Step]) -> float:
        """Return the share of steps too far to be taken, or find the first that is not finite; once an iteration, to avoid round trips."""
        stats = torch.stack([taken.stats for taken in steps])  # (optimizer steps, statistics)
        bad = (~torch.isfinite(stats)).nonzero()
        if len(bad) == 0:
            return float((stats[:, KL] > FAR).float().mean())
        number, column = bad[0].tolist()
        batch, index, _ = steps[number]
        minibatch, row = batch.select(index), int(stats[number, COLUMNS.index("offender")])
        offenders = gathered(row) if self.shares else [row]  # of each rank's part
        culprit = next((n for n, offender in enumerate(offenders) if offender >= 0), 0)
        if rank() != culprit:
            raise RankLost(f"rank {culprit} has a number that is not finite")
        where = f"in optimizer step {number + 1} of the iteration, {minibatch.place(row, self.config.num_envs)}"
        raise NonFiniteError(f"{COLUMNS[column]} is not finite {where}", minibatch._asdict())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's moments, the reward statistics and the progress of the warm-up, by name."""
        moments = {f"optimizer.{name}": x for name, x in self.moments.items()}
        return moments | self.estimator.state_dict() | self.warmup.state_dict()

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: the tensors belong to another optimizer, or to a run that scaled its rewards differently.
        """
        own, parts = self.state_dict(), ("optimizer.", "scaler.", "warmup.")
        stored = {name: x for name, x in tensors.items() if name.startswith(parts)}
        if stored.keys() != own.keys() or not all(fits(stored[name], x) for name, x in own.items()):
            raise UsageError(
                f"the checkpoint holds {described(stored)}, but optimizer = {self.config.optimizer!r} and scale_rewards = "
                f"{self.config.scale_rewards} need {described(own)}; keep the run's settings"
            )
        for name, tensor in own.items():
            tensor.copy_(stored[name])
        self.trained = True  # `check_decisions` came before its first checkpoint
