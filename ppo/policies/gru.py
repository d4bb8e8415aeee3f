"""The gru policy: features, a GRU that is reset where episodes begin, actor and critic on its output."""

from typing import Any

from gymnasium.spaces import Space
from torch import Tensor, nn
from torch.nn import functional

from ppo.envs.spaces import leaves
from ppo.policies.base import ACTIVATIONS, Policy, orthogonal
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features, is_image
from ppo.policies.heads import Head
from ppo.policies.recurrence import Recurrence


class GRUPolicy(Policy):
    """Recurrent policy, trained by back-propagation through whole segments of episodes."""

    def __init__(
        self,
        obs_space: Space[Any],
        action_space: Space[Any],
        *,
        hidden_sizes: tuple[int, ...] = (64,),
        activation: str = "tanh",
        state_size: int = 64,
        normalize_obs: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.state_size = state_size
        conv = any(is_image(leaf) for _, leaf in leaves(obs_space))
        self.features = Features(obs_space, normalize_obs, conv)
        self.head = Head(action_space, self.features.mask_size, **options)
        width = hidden_sizes[-1]
        self.encoder = nn.Sequential(orthogonal(nn.Linear(self.features.size, width)), ACTIVATIONS[activation]())
        self.gru = nn.GRUCell(width, state_size)
        for name, parameter in self.gru.named_parameters():
            nn.init.zeros_(parameter) if "bias" in name else nn.init.orthogonal_(parameter)
        self.actor = orthogonal(nn.Linear(state_size, self.head.num_outputs), gain=0.01)
        self.critic = orthogonal(nn.Linear(state_size, 1), gain=1.0)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        x, mask = self.features(obs)  # (T, N, F)
        x = functional.linear(self.encoder(x), self.gru.weight_ih, self.gru.bias_ih).to(state.dtype)  # (T, N, 3H)
        keep = (~starts).to(x.dtype).unsqueeze(-1)  # (T, N, 1)
        x = Recurrence.apply(x, keep, state, self.gru.weight_hh, self.gru.bias_hh)  # (T, N, H)
        return self.head(self.actor(x), mask), self.critic(x).squeeze(-1), x[-1]
