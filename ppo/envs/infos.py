"""What step() of a VectorEnv returns besides observations, checked and as arrays over the environments."""

import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector import SyncVectorEnv, VectorEnv
from torch import Tensor

from ppo.envs.fits import KINDS, check_number, info_number, misfit, short
from ppo.envs.spaces import gather
from ppo.errors import UsageError


def answers(values: Sequence[Any], num_envs: int) -> list[np.ndarray]:
    """Return copies of rewards, float64, and of terminated and truncated, bool, (N,) each.

    Raises:
        UsageError: one is missing or has another shape, or an entry that is not a number.
    """
    if len(values) != 3:
        raise UsageError(
            f"step() returned {len(values) + 2} values; it must return 5: observations, rewards, terminated, truncated, infos",
            page="environments#termination-and-truncation",
        )
    copies = []
    for name, value, dtype in zip(("reward", "terminated", "truncated"), values, (float, bool, bool), strict=True):
        value = value.cpu().numpy() if isinstance(value, Tensor) else value
        if np.shape(value) != (num_envs,):
            raise UsageError(
                f"step() returned {'rewards' if name == 'reward' else name} = {short(value)} with the shape {np.shape(value)}; it must be (N,) = ({num_envs},)"
            )
        if getattr(value, "dtype", np.dtype(object)).kind not in KINDS:
            for index, entry in enumerate(value):
                check_number(index, name, entry)
        copies.append(np.array(value, dtype))
    return copies


def stacking_fault(envs: VectorEnv, error: Exception) -> str:
    """Return which observation Gymnasium's SyncVectorEnv could not stack, if that is what raised the error; else ""."""
    base: Any = envs.unwrapped
    modules = {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)}
    if isinstance(base, SyncVectorEnv) and "gymnasium.vector.utils.space_utils" in modules:
        for n, (env, obs) in enumerate(zip(base.envs, base._env_obs, strict=True)):
            if problem := misfit(env.observation_space, obs):
                return f"environment {n} returned an observation that does not fit its space: {problem}"
    return ""


def valid(infos: dict[str, Any], num_envs: int) -> np.ndarray:
    """Return (N,) bool: whether the next action is a decision; True where the environment does not report it."""
    reported = infos.get("_valid", np.full(num_envs, "valid" in infos))  # (N,)
    if getattr(infos.get("valid", reported), "dtype", np.dtype(object)).kind not in KINDS:
        for n in np.flatnonzero(reported):
            check_number(int(n), "valid", infos["valid"][n])
    return np.where(reported, infos.get("valid", True), True).astype(bool)


def final_obs(infos: dict[str, Any], index: np.ndarray, space: Space[Any]) -> Any:
    """Return the last observations of the episodes that were truncated in the environments at index, as a batch.

    Raises:
        UsageError: the infos of a SAME_STEP environment lack one.
    """
    final = infos.get("final_obs")
    one_by_one = isinstance(final, np.ndarray) and final.dtype == object
    if final is None or (one_by_one and any(final[n] is None for n in index)):
        rename = "; rename final_observation" if "final_observation" in infos else ""
        raise UsageError(
            f"environment {index[0]} was truncated in autoreset mode SAME_STEP, but infos['final_obs'] lacks the last "
            f"observation of its episode{rename}",
            page="environments#autoreset",
        )
    return gather(final, index, space)


def episode_metrics(infos: dict[str, Any], names: tuple[str, ...], done: np.ndarray) -> np.ndarray:
    """Return the numbers of the last info of an episode, (N, M); 0 where none ended.

    Args:
        infos: of one step.
        names: the keys, M of them.
        done: (N,) bool.

    Raises:
        UsageError: one of them is missing or not a number.
    """
    infos = infos.get("final_info", infos)
    columns = {name: column for name, column in infos.items() if isinstance(column, np.ndarray | list | tuple)}
    table = np.zeros((len(done), len(names)))
    for n in np.flatnonzero(done):
        own = {
            name: column[n] for name, column in columns.items() if name[:1] != "_" and columns.get(f"_{name}", done)[n]
        }
        table[n] = [info_number(own, name, int(n)) for name in names]
    return table
