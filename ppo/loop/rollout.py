"""The rollout: T steps of N environments, and its fold into sequences for training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppo.errors import NonFiniteError

LARGEST = math.sqrt(torch.finfo(torch.float32).max)  # 1.8e19: losses and statistics square what they get
SINCE = "since the environments were reset"  # steps in messages are counted from there
NOUNS = {
    "obs": "an observation", "rewards": "the reward", "values": "the value", "log_probs": "the log-probability",
    "final_obs": "the last observation of an episode", "next_values": "the value of the next observation",
}  # fmt: skip


def fold(x: Tensor, length: int) -> Tensor:
    """Cut (T, N, …) into sequences of `length` steps: (L, B, …) with B = N · T / L. A bijection of rows."""
    return x.unflatten(0, (-1, length)).transpose(0, 1).flatten(1, 2)


@dataclass
class Successors:
    """Rows whose successor is not the next row of the rollout, with that successor's observation and state.

    They are the last row of each environment, and rows that were truncated while the environment went on to its next
    episode in the same step.
    """

    rows: Tensor  # (K,) int64   flat index t · N + n
    obs: Tensor  # (K, *obs)     the successor's observation, packed
    states: Tensor  # (K, H)     the recurrent state before it

    def next_values(self, values: Tensor, policy: Callable[..., Any]) -> Tensor:
        """Return V of each row's successor, (T, N), from V of the rows, (T, N), and the policy that gave it."""
        starts = torch.zeros(1, len(self.rows), dtype=torch.bool, device=values.device)
        own = policy(self.obs.unsqueeze(0), self.states, starts)[1][0]  # (K,)
        shifted = torch.cat([values[1:], values[-1:]]).flatten()  # (T · N,)
        return shifted.index_copy(0, self.rows, own).view_as(values)


@dataclass
class Rollout:
    """T steps of N environments; a row is one decision and its outcome."""

    obs: Tensor  # (T, N, *obs) packed
    states: Tensor  # (T / L, N, H) before each step, or before every Lth
    starts: Tensor  # (T, N) bool   the step began an episode
    valid: Tensor  # (T, N) bool    the row was the policy's decision
    actions: Tensor  # (T, N, *action) packed
    log_probs: Tensor  # (T, N)
    rewards: Tensor  # (T, N)       raw, the environment's
    penalties: Tensor  # (T, N)     subtracted from the rewards in training: β KL, 0 without a reference
    terminated: Tensor  # (T, N) bool
    truncated: Tensor  # (T, N) bool
    values: Tensor  # (T, N)
    next_values: Tensor  # (T, N)   V of the true successor, also where the episode was cut
    next_valid: Tensor  # (N,) bool the row after the last one is a decision
    successors: Successors

    @property
    def done(self) -> Tensor:
        """(T, N) bool: the row ended its episode."""
        return self.terminated | self.truncated

    @torch.no_grad()
    def with_values(self, policy: Callable[..., Any]) -> "Rollout":
        """Return the rollout with values and next_values of the policy as it is now.

        A recurrent policy starts from the states that were stored when it acted, as it does in training.
        """
        values = policy(self.obs, self.states[0], self.starts)[1]
        return replace(self, values=values, next_values=self.successors.next_values(values, policy))


class Estimates(NamedTuple):
    """What the loss needs beyond the rollout itself; (T, N) each."""

    values: Tensor
    advantages: Tensor  # weights of the log-probabilities: advantages, returns, or returns relative to a group
    returns: Tensor  # advantages + values, what the critic learns


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
    rows: Tensor  # (L, B) int64 flat index t · N + n in the rollout

    @classmethod
    def from_rollout(cls, rollout: Rollout, valid: Tensor, estimates: Estimates, length: int) -> "Batch":
        """Fold a rollout, the rows to train on (T, N) bool, and their estimates into sequences of `length` steps."""
        steps, envs = valid.shape
        rows = torch.arange(steps * envs, device=valid.device).view(steps, envs)
        columns = {name: getattr(rollout, name) for name in ("obs", "starts", "actions", "log_probs")}
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

    def select(self, index: Tensor) -> "Batch":
        """Return the minibatch of the sequences at `index` (B',)."""
        columns = self._asdict()
        states = columns.pop("states")
        return Batch(states=states[index], **{name: x.index_select(1, index) for name, x in columns.items()})


def _usable(x: Tensor) -> Tensor:
    return x.abs() <= LARGEST  # False for NaN


def check_finite(
    columns: dict[str, tuple[Tensor, Tensor]], num_envs: int, first_step: int, rollout: dict[str, Tensor]
) -> None:
    """Raise NonFiniteError for the earliest number that is NaN, infinite, or so large that its square is.

    Args:
        columns: (rows, numbers) by name: flat indices t · N + n, (M,) int64, and what belongs to them, (M, …). Of several
            broken ones in a step the first is named, so list causes before effects.
        num_envs: N.
        first_step: number of the step t = 0, for the message.
        rollout: the columns (T, N, …), for inspection.
    """
    numbers = {name: (rows, x) for name, (rows, x) in columns.items() if x.is_floating_point()}
    first: dict[str, int] = {}  # the place in the column
    for name, (rows, x) in numbers.items():
        if x.numel() and not (x.amin() >= -LARGEST and x.amax() <= LARGEST):
            broken = ~_usable(x).flatten(1).all(1) if x.dim() > 1 else ~_usable(x)
            places = broken.nonzero().flatten()
            first[name] = int(places[rows[places].argmin()])
    if not first:
        return
    name = min(first, key=lambda name: int(numbers[name][0][first[name]]) // num_envs)
    rows, x = numbers[name]
    step, env = divmod(int(rows[first[name]]), num_envs)
    entry = (~_usable(x[first[name]])).nonzero()[0].tolist()
    value, where = x[first[name]][tuple(entry)].item(), f" in entry {entry}" if entry else ""
    fault = "too large: its square overflows float32" if math.isfinite(value) else "not finite"
    noun = f"{NOUNS.get(name, name)} of environment {env} at step {first_step + step} {SINCE}"
    raise NonFiniteError(f"{noun} is {value:g}{where}, which is {fault}", rollout)
