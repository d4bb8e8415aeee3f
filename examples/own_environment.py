"""An environment of your own: a battery that buys power at night and sells it by day.

    python examples/own_environment.py                                    # from Python, as below
    cd examples && ppo train own_environment:Battery-v0                   # the same on the command line

It shows what most environments need: a Dict observation, an action mask in the info, a number of the info that is logged
(`episode/sold`), and a time limit. Days do not end, so the time limit truncates: the charge that is left keeps its value.
In four days, random actions lose 3 on average, and the trained policy earns 27.
"""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from ppo import Trainer, load_policy, preset

SELL, WAIT, BUY = range(3)
CAPACITY = 4


class Battery(gymnasium.Env):
    """Each hour, sell a unit of power, wait, or buy one; the price follows the hour of the day, with noise."""

    metadata = {"render_modes": [], "ppo": {"metrics": ("sold",)}}  # log this number of the last info of an episode
    observation_space = Dict(charge=Discrete(CAPACITY + 1), hour=Discrete(24), price=Box(0.0, 3.0))
    action_space = Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin at a random hour with an empty battery."""
        super().reset(seed=seed)
        self.hour, self.charge, self.sold = int(self.np_random.integers(24)), 0, 0
        return self._observe()

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Trade one unit at the price that the last observation showed."""
        change = int(action) - WAIT
        self.charge, self.sold = self.charge + change, self.sold + (change < 0)
        reward = -change * self.price
        self.hour = (self.hour + 1) % 24
        obs, info = self._observe()
        return obs, reward, False, False, info

    def _observe(self) -> tuple[Any, dict[str, Any]]:
        """Draw the price of the hour; return the observation and the info with the mask of possible actions."""
        self.price = float(np.clip(1.5 - math.cos(math.tau * self.hour / 24) + self.np_random.normal(0, 0.2), 0, 3))
        mask = np.array([self.charge > 0, True, self.charge < CAPACITY], dtype=np.int8)
        obs = {"charge": self.charge, "hour": self.hour, "price": np.array([self.price], dtype=np.float32)}
        return obs, {"action_mask": mask, "sold": self.sold}


gymnasium.register("Battery-v0", entry_point=Battery, max_episode_steps=96)


def main(total_timesteps: int = 40_000) -> float:
    """Train, play one episode with the trained policy, and return what it earned."""
    config = preset("own_environment:Battery-v0")
    run = Trainer(config.replace({"total_timesteps": total_timesteps})).train()
    policy, env = load_policy(run), gymnasium.make("Battery-v0")
    obs, info = env.reset(seed=0)
    earned, truncated = 0.0, False
    while not truncated:
        action, _ = policy.act(obs, mask=info["action_mask"])
        obs, reward, _, truncated, info = env.step(action)
        earned += float(reward)
    print(f"{run}: earned {earned:.1f} in four days, sold {info['sold']} units")
    return earned


if __name__ == "__main__":
    main()
