"""Several agents of your own, which share one policy: three people who should not sit on one another's lap.

    pip install pettingzoo
    python examples/own_agents.py                                                # from Python, as below
    cd examples && ppo train pettingzoo:own_agents --env-kwargs critic all       # the same environment on the command line

A parallel environment of PettingZoo in a module with a function `parallel_env` is all that is needed. Each agent observes who it is, since
all share one policy, and where everybody sits. After 40,000 decisions each earns about 19 of 20.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

from ppo import Trainer, evaluate, preset

SEATS, STEPS = 7, 20


class Seats(ParallelEnv):
    """Move left or right, or stay; everybody earns the share of people who sit alone."""

    metadata = {"name": "seats"}
    possible_agents = ["ann", "ben", "cem"]

    def observation_space(self, agent: str) -> Box:
        """Return the space of who one is and where everybody sits, oneself first."""
        return Box(0, 1, (6,))

    def action_space(self, agent: str) -> Discrete:
        """Return the space of left, stay and right."""
        return Discrete(3)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Seat everybody on the same seat."""
        self.agents, self.time = list(self.possible_agents), 0
        self.rng = np.random.default_rng(seed) if seed is not None or not hasattr(self, "rng") else self.rng
        self.places = np.full(3, self.rng.integers(1, SEATS - 1))
        return self._see(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """Move, and pay."""
        self.places = np.clip(self.places + [actions[agent] - 1 for agent in self.agents], 0, SEATS - 1)
        self.time += 1
        alone = float(np.mean([(self.places == place).sum() == 1 for place in self.places]))
        present, over = self.agents, self.time == STEPS
        self.agents = [] if over else present
        return (
            self._see(), dict.fromkeys(present, alone), dict.fromkeys(present, False), dict.fromkeys(present, over),
            {agent: {} for agent in present},
        )  # fmt: skip

    def _see(self) -> dict[str, np.ndarray]:
        rows = [np.concatenate([np.eye(3)[k], np.roll(self.places, -k) / SEATS]) for k in range(3)]
        return {agent: row.astype(np.float32) for agent, row in zip(self.possible_agents, rows, strict=True)}


parallel_env = Seats


def main(total_timesteps: int = 40_000) -> float:
    """Train, and return the mean return of an agent, at most 20."""
    config = preset("pettingzoo:own_agents").replace(
        {"total_timesteps": total_timesteps, "env_kwargs": {"critic": "all"}}
    )
    earned = evaluate(Trainer(config).train(), episodes=20).mean
    print(f"each earns {earned:.1f} of {STEPS}")
    return earned


if __name__ == "__main__":
    main()
