"""Reward scaling: divide rewards by the running deviation of the discounted return."""

import numpy as np
import torch

from ppo.policies.normalizer import CLIP, RunningMeanStd


class RewardScaler:
    """Divide rewards by the standard deviation of the discounted return, without centring them.

    The return Rₜ = γ Rₜ₋₁ + rₜ runs over the rows of each environment and restarts with its episode (Engstrom et al.
    2020, section 2, reward scaling). The statistics include a rollout before it is scaled.

    Args:
        gamma: discount factor.
        num_envs: N.
    """

    def __init__(self, gamma: float, num_envs: int) -> None:
        self.gamma = gamma
        self.stats = RunningMeanStd(1)
        self.running = np.zeros(num_envs)  # (N,) discounted return so far

    def scale(self, rewards: np.ndarray, starts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Update the statistics by rewards (T, N) and return them scaled, (T, N); starts and valid are (T, N) bool."""
        returns = np.empty(rewards.shape)
        for t, reward in enumerate(rewards):
            self.running = self.running * ~starts[t] * self.gamma + reward
            returns[t] = self.running
        self.stats.update(torch.from_numpy(returns[valid][:, None]))
        std = np.sqrt(self.stats.var.item() + 1e-8)
        return np.clip(rewards / std, -CLIP, CLIP)
