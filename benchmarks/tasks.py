"""Tasks, registered as `benchmarks.tasks:NAME`: two that need memory, CartPoleHidden-v0 and Recall-v0, and Images-v0."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class HiddenVelocity(gymnasium.ObservationWrapper):
    """CartPole without velocities in its observations, so that a single observation is not enough to choose the action."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, Box)
        self.observation_space = Box(space.low[::2], space.high[::2], dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return position and angle."""
        return observation[::2]


class Recall(gymnasium.Env):
    """Name the cue of the first observation at the last step; the observations between are all the same.

    The return is 1 for the right cue and 0 otherwise: 1.0 with memory, 1 / cues on average without.
    """

    def __init__(self, cues: int = 4, delay: int = 8) -> None:
        self.cues, self.delay = cues, delay
        self.observation_space, self.action_space = Discrete(cues + 1), Discrete(cues)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Return the cue."""
        super().reset(seed=seed)
        self.cue, self.time = int(self.np_random.integers(self.cues)), 0
        return self.cue, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Return the observation without a cue; the last step rewards its name."""
        self.time += 1
        done = self.time > self.delay
        return self.cues, float(done and action == self.cue), done, False, {}


class Images(gymnasium.Env):
    """Name the picture: each observation is one of several frames of noise, 84 × 84 × 4 pixels as of Atari games, at little cost.

    The reward is 1 for the number of the frame modulo the number of actions, 0 otherwise.
    """

    def __init__(self, frames: int = 16, actions: int = 4) -> None:
        self.observation_space, self.action_space = Box(0, 255, (84, 84, 4), np.uint8), Discrete(actions)
        self.actions = actions
        self.frames = np.random.default_rng(0).integers(0, 256, (frames, 84, 84, 4), np.uint8)  # alike in all copies

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return a frame."""
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Reward the action for the frame before, and return the next frame."""
        reward = float(action == self.number % self.actions)
        return self._next(), reward, False, False, {}

    def _next(self) -> np.ndarray:
        self.number = int(self.np_random.integers(len(self.frames)))
        return self.frames[self.number]


def _cartpole_hidden(**kwargs: Any) -> gymnasium.Env:
    return HiddenVelocity(gymnasium.make("CartPole-v1", **kwargs))


gymnasium.register("CartPoleHidden-v0", entry_point=_cartpole_hidden)
gymnasium.register("Recall-v0", entry_point="benchmarks.tasks:Recall")
gymnasium.register("Images-v0", entry_point="benchmarks.tasks:Images", max_episode_steps=256)
