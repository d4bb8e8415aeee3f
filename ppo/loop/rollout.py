"""The rollout: T steps of N environments."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ppo.errors import NonFiniteError

LARGEST = math.sqrt(torch.finfo(torch.float32).max)  # 1.8e19: losses and statistics square what they get
SINCE = "since the environments were reset"  # steps in messages are counted from there
NOUNS = {
    "obs": "an observation", "rewards": "the reward", "values": "the value", "log_probs": "the log-probability",
    "final_obs": "the last observation of an episode", "next_values": "the value of the next observation",
}  # fmt: skip


@dataclass
class Successors:
    """Rows whose successor is not the next row of the rollout, with that successor's observation and state.

    They are the last row of each environment, and rows that were truncated while the environment went on to its next
    episode in the same step.
    """

    rows: Tensor  # (K,) int64   flat index t · N + n
    obs: Tensor  # (K, *obs)     the successor's observation, packed
    states: Tensor  # (K, H)     the recurrent state before it

    @classmethod
    def side_by_side(cls, parts: "list[Successors]", num_envs: int) -> "Successors":
        """Return those of the rollout of all environments, from those of rollouts of `num_envs` each."""
        rows = [
            part.rows // num_envs * num_envs * len(parts) + n * num_envs + part.rows % num_envs
            for n, part in enumerate(parts)
        ]
        return cls(torch.cat(rows), torch.cat([part.obs for part in parts]), torch.cat([part.states for part in parts]))

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
    reference: Tensor  # (T, N, K) parameters of the reference's distributions, for a divergence in the loss; else K = 0
    kl_coefs: Tensor  # (T, N)      β, the weight of that divergence in the loss
    terminated: Tensor  # (T, N) bool
    truncated: Tensor  # (T, N) bool
    value_ends: Tensor  # (T, N) bool   the environment says that nothing after the row counts for its value
    values: Tensor  # (T, N)
    next_values: Tensor  # (T, N)   V of the true successor, also where the episode was cut
    next_valid: Tensor  # (N,) bool the row after the last one is a decision
    successors: Successors

    @property
    def done(self) -> Tensor:
        """(T, N) bool: the row ended its episode."""
        return self.terminated | self.truncated

    @property
    def settled(self) -> Tensor:
        """(T, N) bool: no reward after the row is credited to it, since the episode or the value ended."""
        return self.done | self.value_ends

    def to(self, device: torch.device) -> "Rollout":
        """Return the rollout with its tensors on a device."""
        tensors = {name: x.to(device) for name, x in vars(self).items() if name != "successors"}
        return Rollout(**tensors, successors=Successors(*(x.to(device) for x in vars(self.successors).values())))

    @classmethod
    def side_by_side(cls, parts: "list[Rollout]") -> "Rollout":
        """Return the rollout of all environments, from those of the ranks, in their order."""
        if len(parts) == 1:
            return parts[0]
        names = (f.name for f in fields(cls) if f.name not in ("next_valid", "successors"))
        columns: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts], 1) for name in names}
        columns["successors"] = Successors.side_by_side([part.successors for part in parts], parts[0].valid.shape[1])
        return cls(**columns, next_valid=torch.cat([part.next_valid for part in parts]))

    @torch.no_grad()
    def with_values(self, policy: Callable[..., Any]) -> "Rollout":
        """Return the rollout with values and next_values of the policy as it is now.

        A recurrent policy starts from the states that were stored when it acted, as it does in training.
        """
        values = policy(self.obs, self.states[0], self.starts)[1]
        return replace(self, values=values, next_values=self.successors.next_values(values, policy))


def _usable(x: Tensor) -> Tensor:
    return x.abs() <= LARGEST  # False for NaN


def check_finite(
    columns: dict[str, tuple[Tensor, Tensor]], num_envs: int, first_step: int, rollout: dict[str, Tensor],
    first_env: int = 0,
) -> None:  # fmt: skip
    """Raise NonFiniteError for the earliest number that is NaN, infinite, or so large that its square is.

    Args:
        columns: (rows, numbers) by name: flat indices t · N + n, (M,) int64, and what belongs to them, (M, …). Of several
            broken ones in a step the first is named, so list causes before effects.
        num_envs: N.
        first_step: number of the step t = 0, for the message.
        rollout: the columns (T, N, …), for inspection.
        first_env: number of the environment n = 0, for the message.
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
    noun = f"{NOUNS.get(name, name)} of environment {first_env + env} at step {first_step + step} {SINCE}"
    raise NonFiniteError(f"{noun} is {value:g}{where}, which is {fault}", rollout)
