"""The rollout: T steps of N environments, and its fold into sequences for training."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppo.errors import NonFiniteError


def fold(x: Tensor, length: int) -> Tensor:
    """Cut (T, N, …) into sequences of `length` steps: (L, B, …) with B = N · T / L. A bijection of rows."""
    return x.unflatten(0, (-1, length)).transpose(0, 1).flatten(1, 2)


@dataclass
class Cuts:
    """The rows whose true successor is not the next row, and that successor.

    They are the last row of each environment, and rows that a truncation cut while the environment went on to its next
    episode in the same step.
    """

    rows: Tensor  # (K,) int64   flat index t · N + n
    obs: Tensor  # (K, *obs)     the successor's observation, packed
    states: Tensor  # (K, H)     the recurrent state before it

    def next_values(self, values: Tensor, policy: Callable[..., Any]) -> Tensor:
        """Return V of each row's true successor, (T, N), from V of the rows, (T, N), and the policy that gave it."""
        begins = torch.zeros(1, len(self.rows), dtype=torch.bool, device=values.device)
        cut = policy(self.obs.unsqueeze(0), self.states, begins)[1][0]  # (K,)
        shifted = torch.cat([values[1:], values[-1:]]).flatten()  # (T · N,)
        return shifted.index_copy(0, self.rows, cut).view_as(values)


@dataclass
class Rollout:
    """T steps of N environments; a row is one decision and all that came of it."""

    obs: Tensor  # (T, N, *obs) packed
    states: Tensor  # (T / L, N, H) before each step, or before every Lth
    starts: Tensor  # (T, N) bool   the step began an episode
    valid: Tensor  # (T, N) bool    the row was the policy's decision
    actions: Tensor  # (T, N, *action) packed
    log_probs: Tensor  # (T, N)
    rewards: Tensor  # (T, N)       raw, the environment's
    terminated: Tensor  # (T, N) bool
    truncated: Tensor  # (T, N) bool
    values: Tensor  # (T, N)
    next_values: Tensor  # (T, N)   V of the true successor, also where the episode was cut
    next_valid: Tensor  # (N,) bool the row after the last one is to be a decision
    cuts: Cuts

    @torch.no_grad()
    def revalued(self, policy: Callable[..., Any]) -> "Rollout":
        """Return the rollout with values and next_values under the policy as it is now.

        A recurrent policy starts from the states that were stored when it acted, as it does in training.
        """
        values = policy(self.obs, self.states[0], self.starts)[1]
        return replace(self, values=values, next_values=self.cuts.next_values(values, policy))


class Batch(NamedTuple):
    """What the learner trains on: the rollout folded into B sequences of L steps."""

    obs: Tensor  # (L, B, *obs)
    states: Tensor  # (B, H) before the first step of each sequence
    starts: Tensor  # (L, B) bool
    valid: Tensor  # (L, B) bool
    actions: Tensor  # (L, B, *action)
    log_probs: Tensor  # (L, B)
    values: Tensor  # (L, B)
    advantages: Tensor  # (L, B)
    returns: Tensor  # (L, B) advantages + values
    rows: Tensor  # (L, B) int64 flat index t · N + n in the rollout

    @classmethod
    def from_rollout(
        cls, rollout: Rollout, values: Tensor, advantages: Tensor, returns: Tensor, length: int
    ) -> "Batch":
        """Fold a rollout, and values, advantages and returns (T, N), into sequences of `length` steps."""
        steps, envs = rollout.valid.shape
        rows = torch.arange(steps * envs, device=rollout.valid.device).view(steps, envs)
        columns = {name: getattr(rollout, name) for name in ("obs", "starts", "valid", "actions", "log_probs")}
        columns |= {"values": values, "advantages": advantages, "returns": returns, "rows": rows}
        folded = {name: fold(column, length) for name, column in columns.items()}
        kept = steps // len(rollout.states)  # steps from one state to the next
        return cls(states=rollout.states[:: length // kept].flatten(0, 1), **folded)

    def reweighed(self, values: Tensor, advantages: Tensor, returns: Tensor) -> "Batch":
        """Return the batch with other values, advantages and returns (T, N) in place."""
        length = len(self.valid)
        return self._replace(
            values=fold(values, length), advantages=fold(advantages, length), returns=fold(returns, length)
        )

    @property
    def num_sequences(self) -> int:
        """B."""
        return self.valid.shape[1]

    def select(self, index: Tensor) -> "Batch":
        """Return the minibatch of the sequences at `index` (B',)."""
        columns = self._asdict()
        states = columns.pop("states")
        return Batch(states=states[index], **{name: x.index_select(1, index) for name, x in columns.items()})


def check_finite(columns: dict[str, Tensor], names: tuple[str, ...], first_step: int) -> None:
    """Raise NonFiniteError for the earliest entry of the named columns (T, N, …) that is not finite."""
    tensors = {name: columns[name] for name in names if name in columns and columns[name].is_floating_point()}
    broken = {name: ~x.isfinite() for name, x in tensors.items() if not x.isfinite().all()}
    found = {name: where.nonzero()[0].tolist() for name, where in broken.items()}
    if found:
        name, at = min(found.items(), key=lambda item: item[1][0])
        value, entry = tensors[name][tuple(at)].item(), f", entry {at[2:]}" if at[2:] else ""
        message = f"{name} is not finite ({value}) in environment {at[1]} at step {first_step + at[0]}{entry}"
        raise NonFiniteError(message, tensors)


def final_obs(rollout: Rollout) -> Tensor:
    """Return (T, N): NaN where a row's successor stands in the cuts and is not finite, else 0."""
    finite = rollout.cuts.obs.isfinite().view(len(rollout.cuts.rows), -1).all(1)
    marks = torch.where(finite, 0.0, torch.nan)
    return torch.zeros(rollout.valid.numel()).to(marks).index_copy(0, rollout.cuts.rows, marks).view_as(rollout.valid)
