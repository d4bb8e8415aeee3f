"""Recurrent policies: embedded features, a trunk that carries a state from step to step, and actor and critic on it."""

from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from ppo.envs.critic_key import actor_space
from ppo.envs.spaces import has_image
from ppo.policies.base import ACTIVATIONS, Policy, orthogonal, value_layers
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features
from ppo.policies.heads import Head


class NoMemory(nn.Module):
    """The trunk of a feed-forward critic: an activation, and a state of width 0."""

    state_size = 0

    def __init__(self, input_size: int, *, activation: str = "tanh", **_: Any) -> None:
        super().__init__()
        self.output_size, self.activation = input_size, ACTIVATIONS[activation]()

    def forward(self, x: Tensor, state: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (T, N, W) and state (N, 0) to outputs (T, N, W) and the state."""
        return self.activation(x), state


class RecurrentPolicy(Policy):
    """Recurrent policy; a subclass names the class of its trunk.

    A trunk is built as `trunk(input_size, **options)`, has `state_size` H and `output_size`, and maps x (T, N, input_size),
    the state (N, H) before the first step and starts (T, N) bool to outputs (T, N, output_size) and the state after the
    last step. A linear layer maps features to its input; for a token, that is a table of embeddings.

    Features of what the critic alone sees join the outputs of the critic's trunk, with hidden layers before the value:
    V(h, s), which is unbiased where V(s) alone is not, because the actor's memory also decides what follows (Baisero and Amato
    2022). A feed-forward critic reads the two parts of the observation.

    Args:
        obs_space: space of one observation.
        action_space: space of one action.
        normalize_obs: as in `Features`.
        separate_critic: give the critic its own trunk.
        feedforward_critic: give the critic a layer without memory in place of a trunk.
        convolutions: those of which policy read images, "cnn" or "impala".
        hidden_sizes: the last one is the trunk's input size; all of them are those of the critic's hidden layers, if it has any.
        activation: of the critic's hidden layers and of the trunk.
        options: of the trunk and the head.
    """

    trunk: type[nn.Module]

    def __init__(
        self,
        obs_space: Space[Any],
        action_space: Space[Any],
        *,
        normalize_obs: bool = False,
        separate_critic: bool = False,
        feedforward_critic: bool = False,
        convolutions: str = "cnn",
        hidden_sizes: tuple[int, ...] = (64,),
        activation: str = "tanh",
        **options: Any,
    ) -> None:
        super().__init__()
        images = has_image(actor_space(obs_space))
        self.features = Features(obs_space, normalize_obs, convolutions if images else "")
        self.head = Head(action_space, self.features.mask_size, **options)
        self.embeddings, self.trunks = nn.ModuleList(), nn.ModuleList()
        for trunk in [self.trunk] + [self.trunk] * separate_critic + [NoMemory] * feedforward_critic:
            self.embeddings.append(orthogonal(nn.Linear(self.features.size, hidden_sizes[-1])))
            self.trunks.append(trunk(hidden_sizes[-1], activation=activation, **options))
        self.sizes: list[int] = [trunk.state_size for trunk in self.trunks]  # type: ignore[misc]
        self.state_size = sum(self.sizes)
        self.actor = orthogonal(nn.Linear(self.trunks[0].output_size, self.head.num_outputs), gain=0.01)  # type: ignore[arg-type]
        told, width = self.features.critic_size, self.trunks[-1].output_size
        hidden = hidden_sizes if told or feedforward_critic else ()
        self.critic = value_layers(width + told, hidden, activation)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Return (dist, values, state), as `Policy.forward`."""
        xs, mask = self.features.embed(obs, self.embeddings)  # (T, N, W) each
        parts = state.split(self.sizes, dim=-1)
        runs = [trunk(x, part, starts) for trunk, x, part in zip(self.trunks, xs, parts, strict=True)]
        outputs, states = zip(*runs, strict=True)
        values = self.critic(self.features.for_critic(outputs[-1], obs)).squeeze(-1)  # (T, N)
        return self.head(self.actor(outputs[0]), mask), values, torch.cat(states, dim=-1)
