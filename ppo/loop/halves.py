"""Half-rows: what the collector notes in each step, and the checks of what it has noted."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo.envs.spaces import Packer
from ppo.errors import UsageError
from ppo.loop.rollout import SINCE, Successors, check_finite


class Now(NamedTuple):
    """Where the environments stand before a step."""

    obs: Tensor  # (N, *obs) packed
    starts: np.ndarray  # (N,) bool: the step begins an episode
    valid: np.ndarray  # (N,) bool: the step is the policy's decision
    dead: np.ndarray  # (N,) bool: the step only resets the environment


class Decision(NamedTuple):
    """The first half of a row: what the policy saw and did; the columns are those of `Rollout`."""

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    starts: np.ndarray
    valid: np.ndarray


class Outcome(NamedTuple):
    """The second half of a row: the environments' answer."""

    rewards: np.ndarray  # (N,) float64
    terminated: np.ndarray  # (N,) bool
    truncated: np.ndarray  # (N,) bool
    value_ends: np.ndarray  # (N,) bool
    metrics: np.ndarray  # (N, M) of episodes that ended


class Cut(NamedTuple):
    """Environments that were truncated and already stand in their next episode."""

    envs: np.ndarray  # (K,)
    obs: Tensor  # (K, *obs) the last observation of the old episode


def columns_of(halves: list[Any]) -> dict[str, Any]:
    """Return the columns of half-rows by name, (T, N, …), tensors and NumPy arrays as they are."""
    names = halves[0]._fields if halves else ()
    columns = zip(names, zip(*halves, strict=True), strict=True)
    return {name: torch.stack(x) if isinstance(x[0], Tensor) else np.array(x) for name, x in columns}


def check_numbers(
    packer: Packer, columns: dict[str, Any], num_envs: int, first_step: int, after: Successors | None = None,
    first: int = 0,
) -> None:  # fmt: skip
    """Check the columns in the order in which their numbers arise; `after` is None before there are successors."""
    names = ("obs", "values", "log_probs", "rewards")
    flat = {name: columns[name].flatten(0, 1) for name in names if name in columns}
    flat |= {"obs": packer.numbers(flat["obs"])} if "obs" in flat else {}
    numbers: dict[str, tuple[Tensor, Tensor]] = {n: (torch.arange(len(x), device=x.device), x) for n, x in flat.items()}
    if after is not None:
        numbers["final_obs"] = after.rows, packer.numbers(after.obs)
        numbers["next_values"] = after.rows, columns["next_values"].flatten()[after.rows]
    tensors = {name: x for name, x in columns.items() if isinstance(x, Tensor)}
    check_finite(numbers, num_envs, first_step, tensors, first)


def check_choices(
    packer: Packer, obs: Tensor, next_obs: Tensor, cuts: list[tuple[np.ndarray, Tensor, Tensor]], first_step: int,
    first: int = 0,
) -> None:  # fmt: skip
    """Refuse the earliest observed choice that its space does not have: policies cannot read it.

    Args:
        packer: of the observations.
        obs: (T, N, *obs) packed.
        next_obs: (N, *obs) after the last row.
        cuts: rows, and the observations and states of their successors.
        first_step: number of the step t = 0, for the message.
        first: number of the first environment, for the message.

    Raises:
        UsageError: names the environment, the step and the value.
    """
    steps, envs = obs.shape[:2]
    after = np.arange(envs) + steps * envs, next_obs
    sources = [(np.arange(steps * envs), obs.flatten(0, 1)), after, *((rows, packed) for rows, packed, _ in cuts)]
    for part, (path, leaf) in enumerate(packer.leaves):
        if leaf.last is None:
            continue
        last = torch.as_tensor(leaf.last, device=obs.device)
        for rows, packed in sources:
            values = packer.unpack(packed)[part]  # (M, *leaf shape)
            wrong = ((values < 0) | (values > last)).flatten(1) if leaf.shape else (values < 0) | (values > last)
            if wrong.any():
                place = int((wrong.any(1) if leaf.shape else wrong).nonzero()[0])
                step, env = divmod(int(rows[place]), envs)
                value, where = (
                    (values[place].cpu().numpy().astype(leaf.dtype).astype(int) + leaf.start).tolist(),
                    f" at {path!r}" if path else "",
                )
                raise UsageError(
                    f"the observation of environment {first + env} at step {first_step + step} {SINCE} is {value}{where}, which is "
                    f"not in {leaf.space}"
                )
