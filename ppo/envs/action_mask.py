"""The action mask: `info["action_mask"]` becomes part of the observation, so that the policy reads it."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from ppo.envs.spaces import MASK_KEY, flat_mask, take


class MaskInObservation(VectorWrapper):
    """Put `info["action_mask"]` into the observation, which becomes Dict(obs=…, action_mask=…).

    Args:
        env: the environments.
        mask_size: entries of one mask.
    """

    def __init__(self, env: VectorEnv, mask_size: int) -> None:
        super().__init__(env)
        self.mask_size = mask_size
        single = env.single_observation_space
        self.single_observation_space = spaces.Dict([("obs", single), (MASK_KEY, spaces.MultiBinary(mask_size))])
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
                final[n] = {"obs": take(infos["final_obs"], n), MASK_KEY: np.ones(self.mask_size, np.int8)}
            infos = infos | {"final_obs": final}
        return self._join(obs, infos), rewards, terminated, truncated, infos

    def _join(self, obs: Any, infos: dict[str, Any]) -> dict[str, Any]:
        mask = np.ones((self.num_envs, self.mask_size), np.int8)  # an environment without a mask allows everything
        has_mask = infos.get(f"_{MASK_KEY}", np.full(self.num_envs, MASK_KEY in infos))
        for n in np.flatnonzero(has_mask):
            mask[n] = flat_mask(infos[MASK_KEY][n])
        return {"obs": obs, MASK_KEY: mask}


def expose_mask(envs: VectorEnv) -> VectorEnv:
    """Return envs with the mask of their infos in the observation; envs themselves if they have no mask.

    This resets them once, because their infos are not declared.
    """
    _, infos = envs.reset(seed=0)
    if MASK_KEY not in infos:
        return envs
    first = np.flatnonzero(infos.get(f"_{MASK_KEY}", np.ones(envs.num_envs)))[0]
    return MaskInObservation(envs, len(flat_mask(infos[MASK_KEY][first])))
