"""A critic that sees more than the actor: a boat that sees its place, but not its speed and not the wind.

    python examples/told_critic.py                                          # from Python, as below
    cd examples && ppo train told_critic:Dock-v0 --policy gru               # the same environment on the command line
    cd examples && ppo eval runs/... --env-kwargs told=false                # the policy needs no `critic` to act

In training, a simulator knows everything. What stands under the key `critic` of a Dict is seen by the critic alone; so the
values are right early, while the actor, a GRU, still learns to infer speed and wind from what it saw. After 20,000 steps the
return is higher than that of the same policy whose critic has to infer them too.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from ppo import Trainer, evaluate, preset


class Dock(gymnasium.Env):
    """Stay at place 0 for 30 steps; each costs the squared distance and a tenth of the squared speed."""

    def __init__(self, told: bool = True) -> None:
        spaces = {"critic": Box(-np.inf, np.inf, (4,)), "place": Box(-np.inf, np.inf, (1,))}
        self.told = told
        self.observation_space = Dict({key: space for key, space in spaces.items() if told or key != "critic"})
        self.action_space = Discrete(3)  # push left, wait, push right

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict]:
        """Begin with a random place, speed and wind."""
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(-1, 1, 2)
        self.wind, self.time = self.np_random.uniform(-0.5, 0.5), 0
        return self._see(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict]:
        """Push."""
        self.speed += 0.1 * (action - 1 + self.wind)
        self.place += 0.15 * self.speed
        self.time += 1
        return self._see(), -float(self.place**2 + 0.1 * self.speed**2), False, self.time == 30, {}

    def _see(self) -> dict[str, Any]:
        obs = {"place": np.array([self.place], np.float32)}
        if self.told:
            obs["critic"] = np.array([self.place, self.speed, self.wind, self.time / 30], np.float32)
        return obs


gymnasium.register("Dock-v0", Dock)


def main(total_timesteps: int = 20_000, seeds: tuple[int, ...] = (101,)) -> dict[bool, list[float]]:
    """Train with and without the critic's key; return for each the mean return over 100 episodes of each seed's policy."""
    _, config = preset("told_critic:Dock-v0")
    config = config.replace({
        "policy": "gru", "num_envs": 32, "num_steps": 30, "num_minibatches": 4, "update_epochs": 4, "learning_rate": 1e-3,
        "total_timesteps": total_timesteps, "eval_episodes": 0, "compile": "off",
    })  # fmt: skip
    returns: dict[bool, list[float]] = {True: [], False: []}
    for told in returns:
        for seed in seeds:
            settings = {"seed": seed, "env_kwargs": {"told": told}, "exp_name": f"told_{told}"}
            run = Trainer(config.replace(settings)).train()
            returns[told].append(evaluate(run, episodes=100, env_kwargs={"told": False}).mean)  # nobody is told
        print(f"critic told: {told!s:5}  return {np.mean(returns[told]):.1f}")
    return returns


if __name__ == "__main__":
    main()
