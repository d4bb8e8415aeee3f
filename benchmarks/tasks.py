"""Two tasks that need memory, registered as `benchmarks.tasks:CartPoleHidden-v0` and `benchmarks.tasks:Recall-v0`."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class HiddenVelocity(gymnasium.ObservationWrapper):
    """CartPole that shows its positions and not its velocities, so that one observation does not tell what to do."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, Box)
        self.observation_space = Box(space.low[::2], space.high[::2], dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[::2]


class Recall(gymnasium.Env):
    """A cue is shown at the first step only and must be named at the last; the steps between show nothing.

    The return is 1 for the right name and 0 otherwise: 1.0 with memory, 1 / cues without.
    """

    def __init__(self, cues: int = 4, delay: int = 8) -> None:
        self.cues, self.delay = cues, delay
        self.observation_space, self.action_space = Discrete(cues + 1), Discrete(cues)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.cue, self.time = int(self.np_random.integers(self.cues)), 0
        return self.cue, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.time += 1
        done = self.time > self.delay
        return self.cues, float(done and action == self.cue), done, False, {}


def _cartpole_hidden(**kwargs: Any) -> gymnasium.Env:
    return HiddenVelocity(gymnasium.make("CartPole-v1", **kwargs))


gymnasium.register("CartPoleHidden-v0", entry_point=_cartpole_hidden)
gymnasium.register("Recall-v0", entry_point="benchmarks.tasks:Recall")
