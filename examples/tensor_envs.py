"""A VectorEnv of tensors: 1,024 cart-poles in torch, stepped in one batch, trained by the same loop.

    python examples/tensor_envs.py

Any `gymnasium.vector.VectorEnv` can be trained: `Trainer(config, envs)`. If it returns tensors, they stay tensors on the
policy's device, and it receives its actions as tensors; on a GPU nothing passes through the host but rewards and flags.
In autoreset mode SAME_STEP an environment that ends an episode returns the first observation of the next one, and the last of
the old one as `final_obs`. A pole that falls terminates; after 500 steps an episode is truncated: the value of `final_obs` counts.
"""

from typing import Any

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from ppo import Trainer, preset

LIMIT = 500  # steps of an episode


class CartPoles(VectorEnv):
    """N cart-poles with the equations of Barto, Sutton and Anderson (1983), as in CartPole-v1."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int, device: str = "cpu") -> None:
        self.num_envs, self.device = num_envs, device
        self.spec = EnvSpec("CartPoles-v0", max_episode_steps=LIMIT)  # so that no checkpoint cuts every episode
        self.single_observation_space = Box(-np.inf, np.inf, (4,))
        self.single_action_space = Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.random = torch.Generator(device)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Begin all episodes."""
        if seed is not None:
            self.random.manual_seed(seed)
        self.obs, self.steps = self._begin(), torch.zeros(self.num_envs, device=self.device)
        return self.obs, {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Push every cart to the left (0) or to the right (1)."""
        x, speed, angle, turn = self.obs.unbind(1)  # (N,) each
        sin, cos, force = angle.sin(), angle.cos(), 20.0 * actions - 10.0
        push = (force + 0.05 * turn**2 * sin) / 1.1
        spin = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        pull = push - 0.05 * spin * cos / 1.1
        last = self.obs + 0.02 * torch.stack([speed, pull, turn, spin], dim=1)  # (N, 4)
        self.steps = self.steps + 1
        terminated = (last[:, 0].abs() > 2.4) | (last[:, 2].abs() > 0.2095)
        truncated = ~terminated & (self.steps >= LIMIT)
        done = terminated | truncated
        self.obs = torch.where(done.unsqueeze(1), self._begin(), last)
        self.steps = self.steps.masked_fill(done, 0)
        return self.obs, torch.ones_like(x), terminated, truncated, {"final_obs": last}

    def _begin(self) -> Tensor:
        return torch.rand(self.num_envs, 4, generator=self.random, device=self.device) * 0.1 - 0.05


def main(total_timesteps: int = 1_000_000, num_envs: int = 1024) -> float:
    """Train, print some iterations, and return the mean return of the last evaluation."""
    config = preset("CartPole-v1")
    settings = {"num_steps": 16, "update_epochs": 2, "num_minibatches": 16, "gamma": 0.99, "gae_lambda": 0.95}
    config = config.replace(settings | {"total_timesteps": total_timesteps})
    rows = [progress.row for progress in Trainer(config, CartPoles(num_envs)).iterations()]
    for row in rows[:: max(1, len(rows) // 8)]:
        print(f"return {row['charts/episodic_return']:6.1f}   {row['charts/SPS']:9,.0f} steps per second")
    print(f"deterministic policy: return {rows[-1]['eval/episodic_return']:.0f}")
    return rows[-1]["eval/episodic_return"]


if __name__ == "__main__":
    main()
