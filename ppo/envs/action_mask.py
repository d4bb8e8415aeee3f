"""The action mask: `info["action_mask"]` becomes part of the observation, so that the policy reads it."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from ppo.envs.fits import MASK_KEY, choices, sized_mask
from ppo.envs.spaces import mask_columns, take
from ppo.errors import UsageError


class MaskInObservation(VectorWrapper):
    """Put `info["action_mask"]` into the observation, which becomes Dict(obs=…, action_mask=…)."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        single, self.mask_size = env.single_observation_space, choices(env.single_action_space)
        self.single_observation_space = spaces.Dict([("obs", single), (MASK_KEY, spaces.MultiBinary(self.mask_size))])
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environments."""
        obs, infos = self.env.reset(seed=seed, options=options)
        return self._join(obs, infos), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environments; final observations get a mask that allows everything."""
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:  # V(final_obs) does not depend on the mask
            final = np.empty(self.num_envs, dtype=object)
            for n in np.flatnonzero(np.logical_or(terminated, truncated)):
                if (last := take(infos["final_obs"], n)) is not None:
                    final[n] = {"obs": last, MASK_KEY: np.ones(self.mask_size, np.int8)}
            infos = infos | {"final_obs": final}
        return self._join(obs, infos), rewards, terminated, truncated, infos

    def _join(self, obs: Any, infos: dict[str, Any]) -> dict[str, Any]:
        column = infos.get(MASK_KEY)
        whole = (
            type(column) is np.ndarray and column.shape == (self.num_envs, self.mask_size) and column.dtype == np.int8
        )
        if whole and np.all(infos.get(f"_{MASK_KEY}", True)):
            return {"obs": obs, MASK_KEY: column}
        mask = np.ones((self.num_envs, self.mask_size), np.int8)  # an environment without a mask allows everything
        for n, own in masks(self.env, infos).items():
            mask[n] = own
        return {"obs": obs, MASK_KEY: mask}


def masks(envs: VectorEnv, infos: dict[str, Any]) -> dict[int, np.ndarray]:
    """Return the mask, (A,) int8, of each environment whose info has one.

    Raises:
        UsageError: a mask has another number of entries than the action space needs.
    """
    column, size = infos.get(MASK_KEY), choices(envs.single_action_space)
    if not isinstance(column, np.ndarray | list | tuple) or len(column) != envs.num_envs:
        return {}
    has_mask = infos.get(f"_{MASK_KEY}", np.ones(envs.num_envs, bool))
    own = {int(n): sized_mask(column[n], size, int(n)) for n in np.flatnonzero(has_mask)}
    return {n: mask for n, mask in own.items() if mask is not None}


def expose_mask(envs: VectorEnv) -> VectorEnv:
    """Return envs with the mask of their infos in the observation; envs themselves if they have no mask there.

    This resets them once, because their infos are not declared.
    """
    _, infos = envs.reset(seed=0)
    in_obs = mask_columns(envs.single_observation_space) is not None
    return envs if in_obs or not masks(envs, infos) else MaskInObservation(envs)


def refuse_late_mask(envs: VectorEnv, infos: dict[str, Any]) -> None:
    """Refuse a mask that comes with the infos of a step, although those of `reset` had none.

    Raises:
        UsageError: there is one.
    """
    for n in masks(envs, infos):
        raise UsageError(f"environment {n} gives info[{MASK_KEY!r}] in step but not in reset; give it in both")
