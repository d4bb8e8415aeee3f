"""Whether recorded episodes fit an environment: lengths, shapes, numbers, choices, bounds and ends."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from ppo.demonstrations.format import FLAGS, PAGE, names
from ppo.envs.images import largest_pixel
from ppo.envs.leaf import Leaf
from ppo.envs.spaces import leaves, one_line
from ppo.errors import UsageError
from ppo.numbers import count, number


@dataclass(frozen=True)
class Demonstrations:
    """Recorded episodes that fit an environment, one after another: M steps of E episodes.

    Attributes:
        source: where they were read.
        observations: of each leaf of the observation space, (M, *shape), in packing order.
        actions: of each leaf of the action space, likewise, as the environment takes them.
        rewards: (M,) float64; None if they were not recorded.
        terminations: (M,) bool.
        truncations: (M,) bool.
        valid: (M,) bool: the action had an effect.
        metadata: JSON values by name; see `ppo.demonstrations.format`.
    """

    source: str
    observations: list[np.ndarray]
    actions: list[np.ndarray]
    rewards: np.ndarray | None
    terminations: np.ndarray
    truncations: np.ndarray
    valid: np.ndarray
    metadata: dict[str, Any]

    @property
    def episodes(self) -> list[range]:
        """The rows of each episode."""
        ends = (np.flatnonzero(self.terminations | self.truncations) + 1).tolist()
        return list(map(range, [0, *ends[:-1]], ends))

    def __str__(self) -> str:
        episodes, rewards = self.episodes, self.rewards
        text = f"{count(len(episodes), 'episode')}, {count(len(self.valid), 'step')}"
        if rewards is None:
            return f"{text}, without rewards"
        returns = [rewards[rows.start : rows.stop].sum() for rows in episodes]
        return (
            f"{text}, return {number(np.mean(returns))} (lowest {number(min(returns))}, highest {number(max(returns))})"
        )


def demonstrations_of(
    arrays: dict[str, np.ndarray], obs_space: Space[Any], action_space: Space[Any], source: str,
    metadata: dict[str, Any] | None = None,
) -> Demonstrations:  # fmt: skip
    """Return recorded episodes after checking that they fit an environment.

    Args:
        arrays: by name; see `ppo.demonstrations.format`.
        obs_space: of the environment.
        action_space: likewise.
        source: where they were read, for the errors.
        metadata: of the file.

    Raises:
        UsageError: an array is missing, has another length, shape or type, holds a number that is not finite, or an action that
            is not in the action space; or the last row does not end an episode.
    """
    _check_names(arrays, [*names(obs_space, "observations"), *names(action_space, "actions")], source)
    length = len(next(iter(arrays.values())))
    for name, x in arrays.items():
        if x.shape[:1] != (length,):
            other = next(iter(arrays))
            raise UsageError(
                f"{source} has {len(x) if x.ndim else 'no'} rows of {name}, but {length} of {other}; give one of each per step",
                PAGE,
            )
    columns: dict[str, list[np.ndarray]] = {}
    for noun, space in (("observations", obs_space), ("actions", action_space)):
        parts = zip(names(space, noun), leaves(space), strict=True)
        columns[noun] = [
            _fitted(arrays[name], leaf, f"{source}: {name}", noun == "actions") for name, (_, leaf) in parts
        ]
    rewards = _numbers(arrays["rewards"], f"{source}: rewards") if "rewards" in arrays else None
    default = {name: np.full(length, name == "valid") for name in FLAGS}
    flags = {name: _flags(arrays.get(name, default[name]), f"{source}: {name}") for name in FLAGS}
    if length and not flags["valid"].any():
        raise UsageError(f"{source} has no step whose action had an effect: valid is False in every row", PAGE)
    done = flags["terminations"] | flags["truncations"]
    if not done[-1:].all() or not length:
        raise UsageError(
            f"{source} has {count(int(done.sum()), 'complete episode')}, and its last row does not end one; set terminations or "
            "truncations there (terminated or truncated in a table)",
            PAGE,
        )
    observations, actions = columns.values()
    terminations, truncations, valid = flags.values()
    return Demonstrations(source, observations, actions, rewards, terminations, truncations, valid, metadata or {})


def _check_names(arrays: dict[str, np.ndarray], needed: list[str], source: str) -> None:
    present = ", ".join(sorted(arrays)) or "nothing"
    for name in needed:
        if name not in arrays:
            raise UsageError(f"{source} has no {name}, which the environment's spaces need; it has {present}", PAGE)
    known = {*needed, "rewards", *FLAGS}
    for name in arrays:
        if name.startswith(("observations", "actions")) and name not in known:
            raise UsageError(
                f"{source} has {name}, which the environment's spaces lack; use the same environment", PAGE
            )
    for name in [name for name in arrays if name not in known]:  # of the user's own
        del arrays[name]
    if not {"terminations", "truncations"} & set(arrays):
        raise UsageError(
            f"{source} has neither terminations nor truncations, so no complete episode; it has {present}", PAGE
        )


def _fitted(values: np.ndarray, leaf: Leaf, where: str, is_action: bool) -> np.ndarray:
    """Return the values (M, *shape) of a leaf in a dtype that the leaf takes."""
    shape = values.shape[1:]
    if shape not in (leaf.shape, leaf.packed_shape):
        raise UsageError(
            f"{where} has the shape {values.shape}, but the space {one_line(leaf.space)} needs (M, {', '.join(map(str, leaf.shape))})",
            PAGE,
        )
    numbers = values if values.dtype.kind in "biu" else _numbers(values, where)
    low: Any = -np.inf
    high: Any = np.inf
    if leaf.last is not None:
        low, high = leaf.start, leaf.start + leaf.last
    elif is_action:
        low, high = leaf.space.low, leaf.space.high
    elif leaf.is_pixels:
        low, high = 0, largest_pixel(leaf.space)
    whole = leaf.last is not None or not np.issubdtype(leaf.dtype, np.floating)
    fitted = np.rint(numbers) if whole and numbers.dtype.kind == "f" else numbers
    fitted = fitted.astype(leaf.dtype) if is_action and not whole else fitted
    wrong = (fitted < low) | (fitted > high) | (whole & (fitted != numbers))
    _refuse(numbers, wrong, f"{where} is", f"which is not in {one_line(leaf.space)}")
    if whole:
        return fitted.astype(leaf.dtype)
    with np.errstate(over="ignore"):
        single = fitted.astype(np.float32, copy=False)
    _refuse(numbers, ~np.isfinite(single), f"{where} is", "which is too large for float32")
    return single


def _numbers(values: np.ndarray, where: str) -> np.ndarray:
    """Return numbers as float64."""
    if values.dtype.kind not in "biuf":
        raise UsageError(f"{where} has the dtype {values.dtype}; give numbers", PAGE)
    numbers = values.astype(np.float64)
    _refuse(numbers, ~np.isfinite(numbers), f"{where} is", "which is not finite")
    return numbers


def _flags(values: np.ndarray, where: str) -> np.ndarray:
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise UsageError(
            f"{where} has the shape {values.shape} and the dtype {values.dtype}; give (M,) of True and False", PAGE
        )
    _refuse(values, (values != 0) & (values != 1), f"{where} is", "which is neither True nor False")
    return values.astype(bool)


def _refuse(values: np.ndarray, wrong: np.ndarray, what: str, why: str) -> None:
    """Refuse the first row with a wrong number."""
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        shown = values[row] if values[row].size <= 8 else values[row][wrong[row]].ravel()[0]
        raise UsageError(f"{what} {' '.join(str(shown).split())} in row {row}, {why}", PAGE)
