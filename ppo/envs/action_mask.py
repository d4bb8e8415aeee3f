"""The action mask: `info["action_mask"]` becomes part of the observation, so that the policy reads it."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from ppo.envs.copies import SyncCopies
from ppo.envs.fits import MASK_KEY, choices, refuse_dict_mask, sized_mask
from ppo.envs.spaces import has_mask, take
from ppo.envs.workers import Workers
from ppo.errors import UsageError


class MaskInObservation(VectorWrapper):
    """Put `info["action_mask"]` into the observation, which becomes Dict(obs=…, action_mask=…).

    Args:
        env: the environments.
        has_mask: (N,) bool, environments that give a mask; the others allow everything.
    """

    def __init__(self, env: VectorEnv, has_mask: np.ndarray) -> None:
        super().__init__(env)
        single, self.mask_size = env.single_observation_space, choices(env.single_action_space)
        self.single_observation_space = spaces.Dict([("obs", single), (MASK_KEY, spaces.MultiBinary(self.mask_size))])
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.has_mask, self.all_have = has_mask, bool(has_mask.all())

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environments."""
        chosen = (options or {}).get("reset_mask")  # Gymnasium takes it out
        obs, infos = self.env.reset(seed=seed, options=options)
        return self._join(obs, infos, *(() if chosen is None else (~chosen,))), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environments; final observations get a mask that allows everything."""
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:  # V(final_obs) does not depend on the mask
            final = np.empty(self.num_envs, dtype=object)
            for n in np.flatnonzero(np.logical_or(terminated, truncated)):
                if (last := take(infos["final_obs"], n)) is not None:
                    final[n] = {"obs": last, MASK_KEY: np.ones(self.mask_size, np.int8)}
            return self._join(obs, infos), rewards, terminated, truncated, infos | {"final_obs": final}
        # Nothing is decided on the last observation of an episode.
        return self._join(obs, infos, terminated, truncated), rewards, terminated, truncated, infos

    def _join(self, obs: Any, infos: dict[str, Any], *unused: Any) -> dict[str, Any]:
        """Join observations and masks; `unused`, (N,) bool each, tell environments whose info needs no mask."""
        column: Any = infos.get(MASK_KEY)
        whole = (
            type(column) is np.ndarray and column.shape == (self.num_envs, self.mask_size) and column.dtype == np.int8
        )
        if whole and self.all_have and np.all(infos.get(f"_{MASK_KEY}", True)) and column.view(np.uint8).max() < 2:
            return {"obs": obs, MASK_KEY: column}
        own = masks(self.env, infos)
        used = np.logical_not(np.logical_or.reduce([np.zeros(self.num_envs, bool), *unused]))
        for n in map(int, np.flatnonzero(used)):
            refuse_change(n, bool(self.has_mask[n]), n in own)
        mask = np.ones((self.num_envs, self.mask_size), np.int8)
        for n, row in own.items():
            mask[n] = row
        return {"obs": obs, MASK_KEY: mask}


def masks(envs: VectorEnv, infos: dict[str, Any]) -> dict[int, np.ndarray]:
    """Return the mask, (A,) int8, of each environment whose info has one.

    Raises:
        UsageError: a mask does not fit the action space, or has an entry that is neither 0 nor 1.
    """
    column, size = infos.get(MASK_KEY), choices(envs.single_action_space)
    refuse_dict_mask(column, envs.single_action_space, 0)
    if not isinstance(column, np.ndarray | list | tuple) or len(column) != envs.num_envs:
        return {}
    has_mask = infos.get(f"_{MASK_KEY}", np.ones(envs.num_envs, bool))
    own = {int(n): sized_mask(column[n], size, int(n)) for n in np.flatnonzero(has_mask)}
    return {n: mask for n, mask in own.items() if mask is not None}


def expose_mask(envs: VectorEnv) -> VectorEnv:
    """Return envs with the mask of their infos in the observation; envs themselves if they have no mask there.

    This resets them once, because their infos are not declared.

    Raises:
        UsageError: Gymnasium's own vector environment holds environments with a method `action_masks()`.
    """
    _, infos = envs.reset(seed=0)
    if has_mask(envs.single_observation_space):
        return envs
    own = masks(envs, infos)
    if own:
        return MaskInObservation(envs, np.isin(np.arange(envs.num_envs), list(own)))
    base = envs.unwrapped
    if isinstance(base, SyncVectorEnv | AsyncVectorEnv) and not isinstance(base, SyncCopies | Workers):
        for n, has_method in enumerate(base.call("has_wrapper_attr", "action_masks")):
            if has_method:
                raise UsageError(
                    f"environment {n} has a method action_masks(), which is not read inside a {type(base).__name__} of "
                    f"your own; return its mask as info[{MASK_KEY!r}] from reset and step, or give env_id",
                    page="environments#action-masks",
                )
    return envs


def refuse_change(index: int, had_mask: bool, has_mask: bool) -> None:
    """Refuse a mask that comes with some infos of an environment only.

    Args:
        index: of the environment.
        had_mask: its info had a mask when the environments were first reset.
        has_mask: its info has one now.

    Raises:
        UsageError: only one of the two.
    """
    if had_mask != has_mask:
        one, other = ("first gave", "does not give it now") if had_mask else ("gives", "gave none at first")
        raise UsageError(
            f"environment {index} {one} info[{MASK_KEY!r}] but {other}; give it in reset and in every step",
            page="environments#action-masks",
        )
