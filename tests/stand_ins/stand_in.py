"""An environment with the spaces of a package that is not installed: random observations, and 1 for the first action."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space, Text

STEPS = 20  # of an episode


class StandIn(gymnasium.Env):
    def __init__(self, space: Space, actions: int):
        self.observation_space, self.action_space = space, Discrete(actions)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.sample(), float(action == 0), self.time == STEPS, False, {}


def pixels(*shape: int, high: int = 255, dtype: type = np.uint8) -> Box:
    return Box(0, high, shape, dtype)


def grid() -> Dict:
    return Dict({"direction": Discrete(4), "image": pixels(7, 7, 3), "mission": Text(20)})


def screen() -> Dict:
    return Dict({"gamevariables": Box(-1e6, 1e6, (1,), np.float32), "screen": pixels(90, 120, 3)})
