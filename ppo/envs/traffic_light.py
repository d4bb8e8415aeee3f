"""The traffic light: a decision process with two states and two actions, whose values are known exactly.

The light is red or green and changes by itself. Stopping at red and driving at green are rewarded. Episodes do not
terminate; they are truncated after 100 steps.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

STATES, ACTIONS = ("red", "green"), ("stop", "drive")
REWARDS = np.array([[0.5, -1.0], [0.0, 1.0]])  # (S, A): driving at red is punished, waiting at green earns nothing
CHANGES = np.array([[0.7, 0.3], [0.4, 0.6]])  # (S, S): from each light to the next, for any action


class TrafficLight(gymnasium.Env):
    """Stop at red, drive at green."""

    observation_space, action_space = Discrete(2), Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin at a random light."""
        super().reset(seed=seed)
        self.light = int(self.np_random.integers(2))
        return self.light, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Stop (0) or drive (1)."""
        reward = float(REWARDS[self.light, action])
        self.light = int(self.np_random.random() < CHANGES[self.light, 1])
        return self.light, reward, False, False, {}


def best_values(gamma: float) -> np.ndarray:
    """Return Q*(s, a), (S, A), by value iteration: Q = r + γ P max Q (Bellman 1957), to machine precision."""
    values = np.zeros_like(REWARDS)
    while True:
        improved = REWARDS + gamma * (CHANGES @ values.max(1))[:, None]
        if np.abs(improved - values).max() < 1e-12:
            return improved
        values = improved


gymnasium.register("TrafficLight-v0", entry_point="ppo.envs.traffic_light:TrafficLight", max_episode_steps=100)
