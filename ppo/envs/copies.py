"""The N copies of an environment, in this process or in others: their answers are checked, and copied before a reset.

Worker processes get this file and `fits` by value; so neither imports torch.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo.envs.fits import (
    MARKS,
    MASK_KEY,
    check_number,
    choices,
    info_number,
    max_episode_steps,
    misfit,
    opt_in,
    refuse_dict_mask,
    short,
    sized_mask,
    without_texts,
)
from ppo.errors import UsageError
from ppo.machine.worker import signal_mask

NUMBERS = frozenset({float, int, np.float64, np.float32, np.int64})
FLAGS = frozenset({bool, np.bool_})
IMMUTABLE = (bool, int, float, complex, str, bytes, np.generic, type(None))
UNSTACKABLE = (IndexError, KeyError, TypeError, ValueError)  # what NumPy raises for observations that differ


class Copy(gymnasium.Wrapper):
    """One of the copies: what it returns fits its spaces, is safe to keep, and names the copy where it does not.

    The array of an episode's last observation is copied, because an environment may write the next episode's first one into
    it. The info has only the keys that are read: making arrays of all others took a tenth of HalfCheetah's time.

    Args:
        env: the environment.
        index: its number among the copies.
        checks_obs: check every observation; not needed where NumPy stacks them, which refuses the same.
        dropped: keys that a wrapper has taken out of its observation.
    """

    def __init__(self, env: gymnasium.Env, index: int, checks_obs: bool = True, dropped: tuple[str, ...] = ()) -> None:
        super().__init__(env)
        self._index, self.dropped = index, dropped
        for name in ("observation_space", "action_space"):
            if not isinstance(getattr(env, name, None), Space):
                raise UsageError(f"{type(env.unwrapped).__name__} has no {name}; set it to a gymnasium.spaces.Space")
        self._checks_obs, self._choices = checks_obs, choices(env.action_space)
        declared = opt_in(env.metadata)
        self._marks, self.metrics = [mark for mark in MARKS if declared[mark]], declared["metrics"]
        self._action_masks = env.get_wrapper_attr("action_masks") if env.has_wrapper_attr("action_masks") else None
        self._says_nothing = self._action_masks is None and not self._marks  # unless there is a mask in the info

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environment itself."""
        if name == "env" or name.startswith("__"):  # while it is made or unpickled
            raise AttributeError(name)
        return getattr(self.env, name)

    @property
    def max_episode_steps(self) -> int:
        """Steps after which Gymnasium truncates an episode; 0 without a limit."""
        return max_episode_steps(self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        try:
            answer = self.env.reset(seed=seed, options=options)
        except (Exception, SystemExit) as error:
            self._name(error)
            raise
        try:
            obs, info = answer
        except (TypeError, ValueError):
            self._refuse_form("reset() must return (obs, info)", answer)
        if not isinstance(info, dict):
            self._refuse_form("reset() must return (obs, info), info a dict", answer)
        if self._checks_obs:
            self.check_obs(obs)
        return obs, self._read(info)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environment."""
        try:
            answer = self.env.step(action)
        except (Exception, SystemExit) as error:
            self._name(error)
            raise
        try:
            obs, reward, terminated, truncated, info = answer
        except (TypeError, ValueError):
            self._refuse_form("step() must return the 5 values obs, reward, terminated, truncated, info", answer)
        if not isinstance(info, dict):
            self._refuse_form("step() must return a dict as its fifth value, the info", info)
        if type(reward) not in NUMBERS:
            check_number(self._index, "reward", reward)
        if self._checks_obs:
            self.check_obs(obs)
        if terminated is False and truncated is False and self._says_nothing and MASK_KEY not in info:
            return obs, reward, False, False, {}
        if not (type(terminated) in FLAGS and type(truncated) in FLAGS):
            check_number(self._index, "terminated", terminated)
            check_number(self._index, "truncated", truncated)
        if terminated or truncated:
            measured = {name: info_number(info, name, self._index) for name in self.metrics}
            return copied(obs), reward, terminated, truncated, self._read(info) | measured
        return obs, reward, terminated, truncated, self._read(info)

    def _name(self, error: BaseException) -> None:
        """Note on an error of the environment's own code which copy it is; refuse an exit."""
        if isinstance(error, SystemExit):
            self._refuse_exit(error)
        error.add_note(f"(raised by environment {self._index})")

    def _refuse_form(self, form: str, value: Any) -> NoReturn:
        raise UsageError(f"environment {self._index} returned {short(value)}; {form}")

    def _refuse_exit(self, error: SystemExit) -> NoReturn:
        name = self.spec.id if self.spec is not None else type(self.unwrapped).__name__
        raise UsageError(
            f"environment {self._index} of {name} called sys.exit({error.code!r}); its code must raise an exception or end "
            "the episode instead"
        )

    def _read(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return the mask, from the info or from `action_masks()`, and the marks that the metadata declares."""
        if self._says_nothing and MASK_KEY not in info:
            return {}
        read: dict[str, Any] = {}
        if (mask := self._mask(info)) is not None:
            read[MASK_KEY] = mask
        for mark in self._marks:
            value = info.get(mark, MARKS[mark])
            check_number(self._index, mark, value)
            read[mark] = bool(value)
        return read

    def _mask(self, info: dict[str, Any]) -> np.ndarray | None:
        """Return the mask of the info, or of the method `action_masks()`, whose name nobody uses by chance."""
        mask = info.get(MASK_KEY)
        if type(mask) is np.ndarray and mask.dtype == np.int8 and mask.shape == (self._choices,):
            return mask  # its entries are checked with those of the other copies
        if mask is not None:
            refuse_dict_mask(mask, self.env.action_space, self._index)
            mask = sized_mask(mask, self._choices, self._index)
        if mask is None and self._action_masks is not None:
            try:
                own = self._action_masks()
            except (Exception, SystemExit) as error:
                self._name(error)
                raise
            mask = sized_mask(own, self._choices, self._index)
            if mask is None:
                raise UsageError(
                    f"environment {self._index} returned {short(own)} from action_masks(); it must return an array with one "
                    "entry per action, 1 where it is allowed and 0 elsewhere",
                    page="environments#action-masks",
                )
        return mask

    def check_obs(self, obs: Any) -> None:
        """Refuse an observation that does not fit the space.

        Raises:
            UsageError: names the environment and what is wrong.
        """
        if problem := misfit(self.env.observation_space, obs):
            raise UsageError(
                f"environment {self._index} returned an observation that does not fit its space: {problem}"
            )


def copied(obs: Any) -> Any:
    """Return an observation that shares no memory with the original; tensors and buffers as arrays."""
    if isinstance(obs, dict):
        return {key: copied(part) for key, part in obs.items()}
    if isinstance(obs, tuple | list):
        return tuple(map(copied, obs))
    return obs if isinstance(obs, IMMUTABLE) else np.asarray(obs).copy()


class SyncCopies(SyncVectorEnv):
    """The copies in this process.

    Args:
        makers: functions that make the copies.
    """

    def __init__(self, makers: list[Callable[[], Copy]]) -> None:
        super().__init__(makers, autoreset_mode=AutoresetMode.SAME_STEP)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the copies."""
        try:
            return super().reset(seed=seed, options=options)
        except UNSTACKABLE as error:
            self._check_obs(error)
            raise

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the copies."""
        try:
            return super().step(actions)
        except UNSTACKABLE as error:
            self._check_obs(error)
            raise

    def _check_obs(self, error: Exception) -> None:
        """Name the observation that NumPy could not stack, if that is what raised the error."""
        if not getattr(error, "__notes__", ()):  # which a copy adds to the environment's own errors
            for env, obs in zip(self.envs, self._env_obs, strict=True):
                assert isinstance(env, Copy)
                env.check_obs(obs)

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        if env_info.get("final_info") == {}:
            del env_info["final_info"]
        return super()._add_info(vector_infos, env_info, env_num) if env_info else vector_infos


def make_copies(
    spec: EnvSpec, numbers: range, kwargs: dict[str, Any], checks_obs: bool = True
) -> list[Callable[[], Copy]]:
    """Return functions that make the copies with these numbers; see `Copy`."""

    def make(index: int) -> Copy:
        # Copy checks more than Gymnasium's checker, which would add a call to each step.
        with signal_mask(blocked=False):  # a process that the environment starts must not inherit a worker's mask
            env = gymnasium.make(spec, **({"disable_env_checker": True} | kwargs))
        env, texts = without_texts(env)
        return Copy(env, index, checks_obs, texts)

    return [lambda index=index: make(index) for index in numbers]  # type: ignore[misc]
