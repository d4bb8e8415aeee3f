"""Recurrent policies: embedded features, a trunk that carries a state from step to step, and actor and critic on it."""

from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from ppo.envs.spaces import has_image
from ppo.policies.base import Policy, orthogonal
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features
from ppo.policies.heads import Head


class RecurrentPolicy(Policy):
    """Recurrent policy; a subclass names the class of its trunk.

    A trunk is built as `trunk(input_size, **options)`, has `state_size` H and `output_size`, and maps x (T, N, input_size),
    the state (N, H) before the first step and starts (T, N) bool to outputs (T, N, output_size) and the state after the
    last step. A linear layer maps features to its input; for a token, that is a table of embeddings.

    Args:
        obs_space: space of one observation.
        action_space: space of one action.
        normalize_obs: as in `Features`.
        separate_critic: give the critic its own trunk.
        convolutions: those of which policy read images, "cnn" or "impala".
        hidden_sizes: the last one is the trunk's input size; the others are not used.
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
        convolutions: str = "cnn",
        hidden_sizes: tuple[int, ...] = (64,),
        **options: Any,
    ) -> None:
        super().__init__()
        self.features = Features(obs_space, normalize_obs, convolutions if has_image(obs_space) else "")
        self.head = Head(action_space, self.features.mask_size, **options)
        self.embeddings, self.trunks = nn.ModuleList(), nn.ModuleList()
        for _ in range(1 + separate_critic):
            self.embeddings.append(orthogonal(nn.Linear(self.features.size, hidden_sizes[-1])))
            self.trunks.append(self.trunk(hidden_sizes[-1], **options))
        self.sizes: list[int] = [trunk.state_size for trunk in self.trunks]  # type: ignore[misc]
        self.state_size = sum(self.sizes)
        size: int = self.trunks[0].output_size  # type: ignore[assignment]
        self.actor = orthogonal(nn.Linear(size, self.head.num_outputs), gain=0.01)
        self.critic = orthogonal(nn.Linear(size, 1), gain=1.0)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Return (dist, values, state), as `Policy.forward`."""
        xs, mask = self.features.embed(obs, self.embeddings)  # (T, N, W) each
        parts = state.split(self.sizes, dim=-1)
        runs = [trunk(x, part, starts) for trunk, x, part in zip(self.trunks, xs, parts, strict=True)]
        outputs, states = zip(*runs, strict=True)
        return self.head(self.actor(outputs[0]), mask), self.critic(outputs[-1]).squeeze(-1), torch.cat(states, dim=-1)
