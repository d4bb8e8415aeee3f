"""What step() of a VectorEnv returns besides observations, checked and as arrays over the environments."""

import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector import SyncVectorEnv, VectorEnv
from torch import Tensor

from ppo.envs.fits import KINDS, MARKS, check_number, info_number, misfit, opt_in, short
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


class Infos:
    """Reads what infos say of the rows, as the environments' metadata declares it.

    Args:
        envs: their metadata names the keys.
    """

    def __init__(self, envs: VectorEnv) -> None:
        declared, n = opt_in(envs.metadata), envs.num_envs
        self.metrics: tuple[str, ...] = declared["metrics"]
        self._declared = {mark: declared[mark] for mark in MARKS}
        self._otherwise = {mark: np.full(n, value) for mark, value in MARKS.items()}  # (N,) bool each
        self._no_numbers = np.zeros((n, len(self.metrics)))

    def valid(self, infos: dict[str, Any]) -> np.ndarray:
        """Return (N,) bool: whether the next action is a decision."""
        return self._marks(infos, "valid")

    def value_ends(self, infos: dict[str, Any], done: np.ndarray) -> np.ndarray:
        """Return (N,) bool: nothing after the step counts for its value; done, (N,) bool, says which episodes ended."""
        now = self._marks(infos, "value_ends")
        return np.where(done, self._marks(infos["final_info"], "value_ends"), now) if "final_info" in infos else now

    def _marks(self, infos: dict[str, Any], name: str) -> np.ndarray:
        otherwise = self._otherwise[name]
        return marks(infos, name, otherwise) if self._declared[name] else otherwise

    def numbers(self, infos: dict[str, Any], done: np.ndarray) -> np.ndarray:
        """Return (N, M): the metrics of episodes that ended; done is (N,) bool."""
        return episode_metrics(infos, self.metrics, done) if self.metrics and done.any() else self._no_numbers


def marks(infos: dict[str, Any], name: str, otherwise: np.ndarray) -> np.ndarray:
    """Return (N,) bool, a flag of each environment's info.

    Args:
        infos: of one step.
        name: the key.
        otherwise: (N,) bool, for environments that do not report it.

    Raises:
        UsageError: the flags have another shape, or one of them is neither True nor False.
    """
    column = infos.get(name, otherwise)
    column = column.cpu().numpy() if isinstance(column, Tensor) else column
    if np.shape(column)[:1] != otherwise.shape:
        raise UsageError(
            f"infos[{name!r}] = {short(column)} must be (N,) = ({len(otherwise)},), one flag for each environment",
            page="environments#infos",
        )
    reported = infos.get(f"_{name}", np.full(len(otherwise), name in infos))  # (N,)
    if getattr(column, "dtype", np.dtype(object)).kind not in KINDS:
        for n in np.flatnonzero(reported):
            check_number(int(n), name, column[n])
    return np.where(reported, column, otherwise).astype(bool)


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
