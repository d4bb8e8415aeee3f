"""Whether what an environment declares and returns fits: observations, masks, numbers of the info, metadata.

Worker processes get this file by value; so it does not import torch.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.wrappers import FilterObservation, TimeLimit

from ppo.errors import UsageError

MASK_KEY = "action_mask"
MARKS = {
    "valid": True,
    "value_ends": False,
}  # flags of an info that it may declare, and what they are where it has none
KINDS = {"b": np.bool_, "u": np.uint64, "i": np.int64, "f": np.float64}  # a dtype of each kind of number


def opt_in(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what an environment declares in `metadata["ppo"]`: which of MARKS it gives, and the names of its metrics.

    Raises:
        UsageError: an entry is unknown or of another type.
    """
    declared = metadata.get("ppo", {})
    nothing: dict[str, Any] = dict.fromkeys(MARKS, False) | {"metrics": ()}
    entries = nothing | declared if isinstance(declared, dict) else {}
    names = entries.get("metrics")
    right = set(entries) == set(nothing) and all(isinstance(entries[mark], bool) for mark in MARKS)
    if not (right and isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)):
        raise UsageError(
            f"metadata['ppo'] = {declared!r} must be a dict with {' and '.join(MARKS)} (True or False) and metrics (a tuple of names)",
            page="environments#infos",
        )
    return entries | {"metrics": tuple(names)}


def max_episode_steps(env: gymnasium.Env) -> int:
    """Return the steps after which Gymnasium's wrappers truncate an episode; 0 without a limit."""
    limits = list[int]()
    while isinstance(env, gymnasium.Wrapper):
        limits += [env._max_episode_steps] if isinstance(env, TimeLimit) else []
        env = env.env
    return min(limits, default=0)


def info_number(info: dict[str, Any], name: str, index: int) -> float:
    """Return a number of the last info of an episode.

    Raises:
        UsageError: it is missing or not a number.
    """
    if name not in info or not is_number(info[name]):
        actual = (
            f"is {short(info[name])}"
            if name in info
            else f"is missing (there is {', '.join(map(str, info)) or 'nothing'})"
        )
        raise UsageError(
            f"info[{name!r}] of environment {index} {actual} at the end of an episode; it must be a number there, because "
            "metadata['ppo']['metrics'] or log_info names it",
            page="environments#infos",
        )
    return float(info[name])


def choices(space: Space[Any]) -> int:
    """Return how many entries the mask of an action has; 0 if the space has no choices to mask."""
    return (
        int(space.n)
        if isinstance(space, Discrete)
        else int(space.nvec.sum())
        if isinstance(space, MultiDiscrete)
        else 0
    )


def flat_mask(mask: Any) -> np.ndarray | None:
    """Return an action mask as one array of numbers; None for something that is not an array of numbers.

    Args:
        mask: an array, or a tuple or list with one array per part of the action.
    """
    try:
        joined = (
            np.concatenate([np.ravel(part) for part in mask]) if isinstance(mask, tuple | list) else np.asarray(mask)
        )
    except (TypeError, ValueError):
        return None
    return joined.ravel() if joined.ndim and joined.dtype.kind in KINDS else None


def is_binary(mask: np.ndarray) -> np.ndarray:
    """Return which entries are 0 or 1."""
    return (mask == 0) | (mask == 1)


def sized_mask(mask: Any, size: int, index: int) -> np.ndarray | None:
    """Return `flat_mask` as int8.

    Args:
        mask: as in `flat_mask`.
        size: entries that the action space needs.
        index: of the environment, for the error.

    Raises:
        UsageError: the mask has another number of entries, or one that is neither 0 nor 1.
    """
    flat = flat_mask(mask)
    if flat is None:
        return None
    if len(flat) != size:
        raise UsageError(
            f"the action mask of environment {index} has {len(flat)} entries, but its action space has {size or 'no'} "
            "choices to mask; give one entry per choice of a Discrete or MultiDiscrete space",
            page="environments#action-masks",
        )
    if len(other := flat[~is_binary(flat)]):
        raise UsageError(
            f"the action mask of environment {index} has the entry {other[0]}; use 1 for allowed actions, 0 for others",
            page="environments#action-masks",
        )
    return flat.astype(np.int8, copy=False)


def refuse_dict_mask(mask: Any, space: Space[Any], index: int) -> None:
    """Refuse a mask with the parts of a Dict action space; with another action space, a dict is something else.

    Raises:
        UsageError: it is one.
    """
    if isinstance(mask, dict) and isinstance(space, Dict):
        raise UsageError(
            f"environment {index} returned info[{MASK_KEY!r}] = {short(mask)} for the parts of a Dict action space, which "
            "cannot be masked; use a Discrete or MultiDiscrete action space",
            page="environments#action-masks",
        )


def without_texts(env: gymnasium.Env) -> tuple[gymnasium.Env, tuple[str, ...]]:
    """Return an environment whose Dict of observations has no texts, which no policy reads, and their keys."""
    space = getattr(env, "observation_space", None)
    parts = space.spaces if isinstance(space, Dict) else {}
    texts = tuple(key for key, part in parts.items() if part.dtype is not None and part.dtype.kind == "U")
    if not texts or len(texts) == len(parts):
        return env, ()
    return FilterObservation(env, [key for key in parts if key not in texts]), texts


def misfit(space: Space[Any], obs: Any, where: str = "") -> str:
    """Return in words why an observation does not fit its space, in structure, shape, dtype or choices; "" if it fits."""
    at = f" at {where!r}" if where else ""
    if isinstance(space, Dict | Tuple):
        named, kind = isinstance(space, Dict), dict if isinstance(space, Dict) else tuple | list
        parts: dict[Any, Space[Any]] = dict(space.spaces if isinstance(space, Dict) else enumerate(space.spaces))
        values = dict(obs if named else enumerate(obs)) if isinstance(obs, kind) else {}
        if missing := [key for key in parts if key not in values]:
            return f"{short(obs)}{at} lacks the parts {missing} of a {type(space).__name__}"
        problems = (misfit(part, values[key], f"{where}.{key}" if where else str(key)) for key, part in parts.items())
        return next(filter(None, problems), "")
    if not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        return ""
    try:
        array = np.asarray(obs)
    except (TypeError, ValueError):  # lists of different lengths, for example
        return f"{short(obs)}{at} is not an array of shape {space.shape}"
    if array.dtype.kind not in KINDS:
        return f"{short(obs)}{at} is not made of numbers"
    if array.shape != space.shape:
        return f"{short(obs)}{at} has the shape {array.shape}, the space {space.shape}"
    if array.dtype.kind not in castable(space.dtype):
        return f"{short(obs)}{at} has the dtype {array.dtype}, the space {space.dtype}; convert it or change the space"
    if isinstance(space, Discrete) and not space.start <= array < space.start + space.n:
        return f"{short(obs)}{at} is not one of {space.start} … {space.start + space.n - 1}"
    if isinstance(space, MultiBinary) and not is_binary(array).all():
        return f"{short(obs)}{at} must be zeros and ones"
    return ""


def castable(dtype: Any) -> str:
    """Return the kinds of dtypes whose values a dtype may take: no fractions for integers, no signs for unsigned ones."""
    return "".join(kind for kind, example in KINDS.items() if np.can_cast(example, dtype, "same_kind"))


def is_number(value: Any) -> bool:
    """Return whether a value is one real number or flag, also as an array without dimensions."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # lists of different lengths
        return False
    return array.ndim == 0 and array.dtype.kind in KINDS


def check_number(index: int, name: str, value: Any) -> None:
    """Refuse a reward or a flag that is not one number.

    Args:
        index: of the environment.
        name: "reward", or the flag's name.
        value: what the environment returned.

    Raises:
        UsageError: it is something else.
    """
    if not is_number(value):
        kind = "one number" if name == "reward" else "True or False"
        raise UsageError(f"environment {index} returned {name} = {short(value)}; it must be {kind}")


def short(value: Any) -> str:
    """Return a value's text on one line, cut to 60 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
