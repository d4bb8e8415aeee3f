"""The cnn and the impala policy: convolutions shared by actor and critic."""

from typing import Any

from gymnasium.spaces import Space
from torch import Tensor, nn

from ppo.policies.base import Policy, orthogonal, value_layers
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features
from ppo.policies.heads import Head


class CNNPolicy(Policy):
    """Feed-forward policy over images and any other parts of the observation; its convolutions depend on the image's size.

    Actor and critic share the convolutions and the layer after them. What the critic alone sees joins that layer's outputs,
    with one more layer of that width before the value; images in it have convolutions of their own.

    Args:
        obs_space: space of one observation.
        action_space: space of one action.
        hidden_sizes: the last one is the width of the layer after the convolutions; None: as in the paper that they are from.
        normalize_obs: as in `Features`.
        options: of the head.
    """

    conv = "cnn"

    def __init__(
        self,
        obs_space: Space[Any],
        action_space: Space[Any],
        *,
        hidden_sizes: tuple[int, ...] = (),
        normalize_obs: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.features = Features(obs_space, normalize_obs, self.conv)
        self.head = Head(action_space, self.features.mask_size, **options)
        width = hidden_sizes[-1] if hidden_sizes else max(network.width for network in self.features.images)
        self.trunk = nn.Sequential(orthogonal(nn.Linear(self.features.size, width)), nn.ReLU())
        self.actor = orthogonal(nn.Linear(width, self.head.num_outputs), gain=0.01)
        told = self.features.critic_size
        self.critic = value_layers(width + told, (width,) * (told > 0), "relu")

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Return (dist, values, state), as `Policy.forward`."""
        x, mask = self.features(obs)  # (T, N, F)
        x = self.trunk(x)  # (T, N, W)
        values = self.critic(self.features.for_critic(x, obs)).squeeze(-1)  # (T, N)
        return self.head(self.actor(x), mask), values, state


class ImpalaPolicy(CNNPolicy):
    """The same with the residual convolutions of IMPALA (Espeholt et al. 2018), whatever the image's size."""

    conv = "impala"
