"""A critic that sees more than the actor: a boat that sees its place, but not its speed, the wind and the price of fuel.

    python examples/told_critic.py                                          # from Python, as below
    cd examples && ppo train told_critic:Boat-v0 --policy gru               # the same environment on the command line
    cd examples && ppo eval runs/Boat-v0__ppo__s1 --env-kwargs told=false  # which needs no `critic` to act

In training, a simulator knows everything. The critic alone sees the part under the key `critic` of a Dict; so its values are
right early, while the actor, a GRU, still learns to infer speed and wind from the places so far. The price changes rewards but
not what is best to do: without the key it is noise in every advantage. After 20,000 steps the policy whose critic is told steers
better than the same policy without the key.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from ppo import Trainer, evaluate, preset


class Boat(gymnasium.Env):
    """Stay at place 0 for 30 steps; each costs the squared distance, a tenth of the squared speed, and the price of fuel."""

    def __init__(self, told: bool = True, prices: float = 5.0) -> None:
        spaces = {"critic": Box(-np.inf, np.inf, (5,)), "place": Box(-np.inf, np.inf, (1,))}
        self.told, self.prices = told, prices
        self.observation_space = Dict({key: space for key, space in spaces.items() if told or key != "critic"})
        self.action_space = Discrete(3)  # push left, wait, push right

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict]:
        """Begin with a random place, speed and wind."""
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(-1, 1, 2)
        self.wind, self.price = self.np_random.uniform(-0.5, 0.5), self.np_random.uniform(-1, 1) * self.prices
        self.time = 0
        return self._see(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict]:
        """Push."""
        self.speed += 0.1 * (action - 1 + self.wind)
        self.place += 0.15 * self.speed
        self.time += 1
        cost = self.place**2 + 0.1 * self.speed**2 + self.price
        return self._see(), -float(cost), False, self.time == 30, {}

    def _see(self) -> dict[str, Any]:
        obs = {"place": np.array([self.place], np.float32)}
        if self.told:
            obs["critic"] = np.array([self.place, self.speed, self.wind, self.price, self.time / 30], np.float32)
        return obs


gymnasium.register("Boat-v0", Boat)


def main(total_timesteps: int = 20_000, seeds: tuple[int, ...] = (101,)) -> dict[bool, list[float]]:
    """Train with and without the critic's key; return for each the mean return over 100 episodes of each seed's policy."""
    config = preset("told_critic:Boat-v0")
    config = config.replace({
        "policy": "gru", "num_envs": 32, "num_steps": 30, "num_minibatches": 4, "update_epochs": 4, "learning_rate": 1e-3,
        "total_timesteps": total_timesteps, "eval_episodes": 0, "compile": "off",
    })  # fmt: skip
    returns: dict[bool, list[float]] = {True: [], False: []}
    for told in returns:
        for seed in seeds:
            settings = {"seed": seed, "env_kwargs": {"told": told}, "exp_name": f"told_{told}"}
            run = Trainer(config.replace(settings)).train()
            played = evaluate(run, episodes=100, env_kwargs={"told": False, "prices": 0.0})  # nobody is told
            returns[told].append(played.mean)
        print(f"critic told: {told!s:5}  return {np.mean(returns[told]):.1f}")
    return returns


if __name__ == "__main__":
    main()
