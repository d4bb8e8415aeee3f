"""A parallel environment as PettingZoo's: three agents, of which agent k is gone after k + 2 steps, the last one by truncation."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary


class Relay:
    """Actions are paid; observations are the time and the seed."""

    possible_agents, render_mode = ("a", "b", "c"), None

    def __init__(self, length: int = 2, masked: bool = False) -> None:
        self.length, self.masked = length, masked

    def observation_space(self, agent: str) -> Any:
        """Return the space of an agent's observations."""
        count = Box(-np.inf, np.inf, (2,), np.float32)
        return Dict({"observation": count, "action_mask": MultiBinary(3)}) if self.masked else count

    def action_space(self, agent: str) -> Any:
        """Return the space of an agent's actions."""
        return Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        """Begin a new episode."""
        self.agents, self.time = list(self.possible_agents), 0
        self.seed = -1 if seed is None else seed
        return {agent: self.see(agent) for agent in self.agents}, {agent: {} for agent in self.agents}

    def see(self, agent: str) -> Any:
        """Return what an agent observes; b cannot take the third action."""
        count = np.array([self.time, self.seed], np.float32)
        return {"observation": count, "action_mask": np.array([1, 1, agent != "b"], np.int8)} if self.masked else count

    def step(self, actions: dict[str, int]) -> Any:
        """Pay the actions of the agents that are there."""
        assert sorted(actions) == sorted(self.agents)
        self.time += 1
        present = [(agent, self.time == self.length + k) for k, agent in enumerate("abc") if agent in self.agents]
        answer = (
            {agent: self.see(agent) for agent in self.agents}, {agent: float(action) for agent, action in actions.items()},
            {agent: over and agent != "c" for agent, over in present},
            {agent: over and agent == "c" for agent, over in present}, {agent: {} for agent in self.agents},
        )  # fmt: skip
        self.agents = [agent for agent, over in present if not over]
        return answer

    def close(self) -> None:
        """Do nothing."""


parallel_env = Relay
