"""Running statistics: of observations, inside the policy; of the discounted return, beside the learner."""

import numpy as np
import torch
from torch import Tensor, nn

CLIP = 10.0  # normalised observations and scaled rewards stay within ±10, as in the published recipes (baselines, 2017)


class RunningMeanStd(nn.Module):
    """Mean and variance of all rows seen, as buffers; frozen but for `absorb`.

    Parallel update of Chan, Golub and LeVeque (1979). Before the first row it is the identity: mean 0, variance 1.
    """

    mean: Tensor  # (F,)
    var: Tensor  # (F,)
    count: Tensor  # ()

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def absorb(self, rows: Tensor) -> None:
        """Take in rows (M, F)."""
        if len(rows) == 0:
            return
        rows = rows.double()
        mean, var, total = rows.mean(0), rows.var(0, correction=0), self.count + len(rows)
        delta, weight = mean - self.mean, len(rows) / total
        self.var.copy_(self.var * (1 - weight) + var * weight + delta * delta * weight * (1 - weight))
        self.mean.copy_(self.mean + delta * weight)
        self.count.copy_(total)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (…, F) and clip to ±10."""
        return ((x - self.mean) * torch.rsqrt(self.var + 1e-8)).clamp(-CLIP, CLIP)


class RewardScaler:
    """Divide rewards by the standard deviation of the discounted return, without centring them.

    The return Rₜ = γ Rₜ₋₁ + rₜ runs over the rows of each environment and restarts with its episode (Engstrom et al.
    2020, section 2, reward scaling). Statistics take in a rollout before it is scaled.
    """

    def __init__(self, gamma: float, num_envs: int) -> None:
        self.gamma = gamma
        self.stats = RunningMeanStd(1)
        self.running = np.zeros(num_envs)  # (N,) discounted return so far

    def scale(self, rewards: np.ndarray, starts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Absorb a rollout's rewards and return them scaled, both (T, N); starts and valid are (T, N) bool."""
        returns = np.empty(rewards.shape)
        for t, reward in enumerate(rewards):
            self.running = self.running * ~starts[t] * self.gamma + reward
            returns[t] = self.running
        self.stats.absorb(torch.from_numpy(returns[valid][:, None]))
        std = np.sqrt(self.stats.var.item() + 1e-8)
        return np.clip(rewards / std, -CLIP, CLIP)
