"""A VectorEnv that shows 0, with any metadata and infos."""

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space


class Silent(VectorEnv):
    """Shows 0; `metadata` and the infos are given."""

    def __init__(self, metadata, infos=None, num_envs=2):
        self.metadata, self.num_envs, self.infos = metadata, num_envs, infos or {}
        self.single_observation_space, self.single_action_space = Box(-1, 1, (1,), np.float32), Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        return np.zeros((self.num_envs, 1), np.float32), dict(self.infos)

    def step(self, actions):
        flags = np.zeros(self.num_envs, bool)
        return np.zeros((self.num_envs, 1), np.float32), np.zeros(self.num_envs), flags, flags, dict(self.infos)
