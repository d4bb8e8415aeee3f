"""Returns of recorded episodes: what the critic learns from demonstrations."""

import numpy as np
import torch
from torch import Tensor

from ppo.config.setting import schedules
from ppo.demonstrations import Demonstrations
from ppo.loop.estimates import Estimator
from ppo.loop.losses import valid_mean
from ppo.loop.reward_scaling import RewardScaler
from ppo.machine.distributed import sum_


class Returns:
    """Discounted returns of the rewards as the settings clip and scale them: Gₜ = rₜ + γ Gₜ₊₁ (γ is 1 where no action is valid).

    An end stops the sum. At a time limit the critic's own latest value of the last observation stands for the rewards that
    would have followed from there, as V(sₜ₊₁) does in PPO; the last row itself is not learnt.

    Args:
        demonstrations: with rewards.
        estimator: of the run; its reward statistics absorb the rewards, so that PPO goes on with the same scale.
        device: of the policy.
    """

    def __init__(self, demonstrations: Demonstrations, estimator: Estimator, device: torch.device) -> None:
        assert demonstrations.rewards is not None
        episodes, gamma = demonstrations.episodes, schedules(estimator.config)["gamma"].at(1.0)
        rewards = estimator.clipped(demonstrations.rewards)
        if estimator.scaler is not None:
            starts = np.zeros((len(rewards), 1), bool)
            starts[[rows.start for rows in episodes]] = True
            scaler = RewardScaler(estimator.scaler.gamma, 1)
            scaler.stats = estimator.scaler.stats
            rewards = scaler.scale(rewards[:, None], starts, demonstrations.valid[:, None])[:, 0]
        discounts = np.where(demonstrations.valid, gamma, 1.0)
        cut = demonstrations.truncations & ~demonstrations.terminations
        returns, weights = np.zeros(len(rewards)), cut.astype(np.float64)
        for rows in episodes:
            last = rows.stop - 1
            returns[last] = 0 if cut[last] else rewards[last]
            for t in reversed(rows[:-1]):
                returns[t] = rewards[t] + discounts[t] * returns[t + 1]
                weights[t] = discounts[t] * weights[t + 1]
        number = np.repeat(np.arange(len(episodes)), list(map(len, episodes)))
        self.returns, self.weights = (torch.from_numpy(x).float().to(device) for x in (returns, weights))  # (M,)
        self.cut, self.episode = (torch.from_numpy(x).to(device) for x in (cut, number))  # (M,)
        self.tails = self.returns.new_zeros(len(episodes))  # (E,) values of the last observations

    def loss(self, values: Tensor, rows: Tensor, valid: Tensor, total: Tensor) -> Tensor:
        """Return ½ mean (V − G)², and keep the values at time limits.

        Args:
            values: (L, B) V.
            rows: (L, B) int64.
            valid: (L, B) bool.
            total: () valid rows of the minibatch, of which these may be a part.
        """
        targets = self.returns[rows] + self.weights[rows] * self.tails[self.episode[rows]]
        loss = 0.5 * valid_mean((values - targets) ** 2, valid & ~self.cut[rows], total)
        ends = self.cut[rows]
        seen = self.tails.new_zeros(2, len(self.tails))
        seen[0].index_add_(0, self.episode[rows[ends]], values.detach()[ends].float())
        seen[1].index_add_(0, self.episode[rows[ends]], torch.ones_like(values[ends], dtype=torch.float32))
        sums, counts = sum_(seen)
        self.tails = torch.where(counts > 0, sums / counts.clamp(min=1), self.tails)
        return loss
