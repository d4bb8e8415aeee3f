"""The gru policy: features, a GRU that is reset where episodes begin, actor and critic on its output."""

from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from ppo.envs.spaces import leaves
from ppo.policies.base import ACTIVATIONS, Policy, orthogonal
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features, is_image
from ppo.policies.heads import Head


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
        action_bound: str = "clip",
        log_std_init: float = 0.0,
        **_: Any,
    ) -> None:
        super().__init__()
        self.state_size = state_size
        conv = any(is_image(leaf) for _, leaf in leaves(obs_space))
        self.features = Features(obs_space, normalize_obs, conv)
        self.head = Head(action_space, action_bound, log_std_init, self.features.mask_size)
        width = hidden_sizes[-1]
        self.encoder = nn.Sequential(orthogonal(nn.Linear(self.features.size, width)), ACTIVATIONS[activation]())
        self.gru = nn.GRU(width, state_size)
        for name, parameter in self.gru.named_parameters():
            nn.init.zeros_(parameter) if "bias" in name else nn.init.orthogonal_(parameter)
        self.actor = orthogonal(nn.Linear(state_size, self.head.num_outputs), gain=0.01)
        self.critic = orthogonal(nn.Linear(state_size, 1), gain=1.0)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        x, mask = self.features(obs)  # (T, N, F)
        x, state = run_segments(self.gru, self.encoder(x), state, starts)  # (T, N, H), (N, H)
        return self.head(self.actor(x), mask), self.critic(x).squeeze(-1), state


def run_segments(gru: nn.GRU, x: Tensor, state: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Run a GRU over x (T, N, F) from state (N, H), reset at starts (T, N) -> outputs (T, N, H), state (N, H).

    Every stretch between two resets is laid out as a sequence of its own, so that one call of the fused GRU runs them
    all side by side, instead of a Python loop over T that resets rows as it goes.
    """
    state = state.masked_fill(starts[0].unsqueeze(-1), 0.0)
    if not starts[1:].any():
        outputs, last = gru(x, state.unsqueeze(0))
        return outputs, last[0]
    steps, envs = starts.shape
    cuts = starts.clone()
    cuts[0] = True  # the first stretch of every environment, which carries on from `state`
    order = cuts.t().flatten().cumsum(0).view(envs, steps).t() - 1  # (T, N) which stretch a row is in
    time = torch.arange(steps, device=x.device).unsqueeze(-1).expand(steps, envs)
    position = time - torch.where(cuts, time, 0).cummax(0).values  # (T, N) step within the stretch
    longest, count = int(position.max()) + 1, int(order[-1, -1]) + 1
    padded = x.new_zeros(longest, count, x.shape[-1]).index_put((position, order), x)  # (S, M, F)
    first = x.new_zeros(count, state.shape[-1]).index_put((order[0],), state)  # (M, H)
    outputs = gru(padded, first.unsqueeze(0))[0][position, order]  # (T, N, H)
    return outputs, outputs[-1]
