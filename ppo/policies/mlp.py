"""The mlp policy: two separate towers, one for the actor and one for the critic."""

from typing import Any

from gymnasium.spaces import Space
from torch import Tensor

from ppo.policies.base import Policy, tower
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features
from ppo.policies.heads import Head


class MLPPolicy(Policy):
    """Feed-forward policy over flattened observations; the critic's tower also reads what the critic alone sees."""

    def __init__(
        self,
        obs_space: Space[Any],
        action_space: Space[Any],
        *,
        hidden_sizes: tuple[int, ...] = (64, 64),
        activation: str = "tanh",
        normalize_obs: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.features = Features(obs_space, normalize_obs)
        self.head = Head(action_space, self.features.mask_size, **options)
        # A last layer near zero starts the policy close to uniform (Andrychowicz et al. 2021, section 3.2).
        self.actor = tower(self.features.size, hidden_sizes, self.head.num_outputs, activation, gain=0.01)
        self.critic = tower(self.features.size + self.features.critic_size, hidden_sizes, 1, activation, gain=1.0)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Return (dist, values, state), as `Policy.forward`."""
        x, mask = self.features(obs)  # (T, N, F)
        values = self.critic(self.features.for_critic(x, obs)).squeeze(-1)  # (T, N)
        return self.head(self.actor(x), mask), values, state
