"""The batch: a rollout folded into sequences, and its minibatches."""

from typing import NamedTuple

import torch
from torch import Tensor

from ppo.loop.estimates import Estimates
from ppo.loop.losses import normalized
from ppo.loop.rollout import Rollout


def fold(x: Tensor, length: int) -> Tensor:
    """Cut (T, N, …) into sequences of `length` steps: (L, B, …) with B = N · T / L. A bijection of rows."""
    return x.unflatten(0, (-1, length)).transpose(0, 1).flatten(1, 2)


class Batch(NamedTuple):
    """A rollout folded into B sequences of L steps, for the learner."""

    obs: Tensor  # (L, B, *obs)
    states: Tensor  # (B, H) before the first step of each sequence
    starts: Tensor  # (L, B) bool
    valid: Tensor  # (L, B) bool: the row was the policy's decision, and its outcome is known
    actions: Tensor  # (L, B, *action)
    log_probs: Tensor  # (L, B)
    values: Tensor  # (L, B)
    advantages: Tensor  # (L, B)
    returns: Tensor  # (L, B) advantages + values
    reference: Tensor  # (L, B, K) parameters of the reference's distributions, for the divergence in the loss; K = 0: there is none
    kl_coefs: Tensor  # (L, B) its weight
    rows: Tensor  # (L, B) int64 flat index t · N + n in the rollout

    @classmethod
    def from_rollout(cls, rollout: Rollout, valid: Tensor, estimates: Estimates, length: int) -> "Batch":
        """Fold a rollout, the rows to train on (T, N) bool, and their estimates into sequences of `length` steps."""
        steps, envs = valid.shape
        rows = torch.arange(steps * envs, device=valid.device).view(steps, envs)
        names = ("obs", "starts", "actions", "log_probs", "reference", "kl_coefs")
        columns = {name: getattr(rollout, name) for name in names}
        columns |= {"valid": valid, "rows": rows, **estimates._asdict()}
        folded = {name: fold(column, length) for name, column in columns.items()}
        stride = steps // len(rollout.states)  # steps from one stored state to the next
        return cls(states=rollout.states[:: length // stride].flatten(0, 1), **folded)

    def with_estimates(self, estimates: Estimates) -> "Batch":
        """Return the batch with other estimates (T, N) in place."""
        return self._replace(**{name: fold(x, len(self.valid)) for name, x in estimates._asdict().items()})

    @property
    def num_sequences(self) -> int:
        """B."""
        return self.valid.shape[1]

    def minibatches(self, order: Tensor, part: slice, normalize: bool) -> "list[Minibatch]":
        """Return a part of each of M minibatches, all gathered at once.

        Args:
            order: (M, B') the sequences of each minibatch.
            part: which of the B' to return.
            normalize: the advantages, over the whole of each minibatch.
        """
        valid, advantages = self.valid[:, order], self.advantages[:, order]  # (L, M, B')
        advantages = (normalized(advantages, valid) if normalize else advantages)[:, :, part]
        counts = valid.sum((0, 2)).clamp(min=1).float()  # (M,)
        own = order[:, part]
        chosen = self.select(own.flatten())
        columns = {name: x.unflatten(int(name != "states"), own.shape) for name, x in chosen._asdict().items()}
        columns["advantages"] = advantages
        parts = zip(*(x.unbind(int(name != "states")) for name, x in columns.items()), strict=True)
        return [Minibatch(Batch(*part), count) for part, count in zip(parts, counts, strict=True)]

    def select(self, index: Tensor) -> "Batch":
        """Return the minibatch of the sequences at `index` (B',)."""
        columns = self._asdict()
        states = columns.pop("states")
        return Batch(states=states[index], **{name: x.index_select(1, index) for name, x in columns.items()})

    def place(self, row: int, num_envs: int) -> str:
        """Return where in the rollout a row (flat index) stands, in words; row −1: the fault is in the gradient alone."""
        if row < 0:
            return "in its gradient alone"
        step, env = divmod(int(self.rows.flatten()[row]), num_envs)
        return f"first in environment {env} at step {step} of the rollout"


class Minibatch(NamedTuple):
    """A minibatch, or this rank's part of it."""

    batch: Batch
    total: Tensor  # () rows to train on of the whole minibatch
