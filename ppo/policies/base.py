"""The contract between a policy and the rest of the package, and the initialisation the built-in policies share."""

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ppo.policies.distributions import Distribution

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}


class Policy(nn.Module):
    """What the rest of the package asks of a network.

    ==========  ==============  ==================================================
    obs         (T, N, *obs)    observations, packed (`ppo.envs.spaces.pack`)
    state       (N, H)          recurrent state before the first step; H = 0 when feed-forward
    starts      (T, N) bool     step t begins an episode: the state is reset there
    -> dist     over (T, N)     action distribution
    -> values   (T, N)          V(obs)
    -> state    (N, H)          recurrent state after the last step
    ==========  ==============  ==================================================

    A subclass is built as `Class(obs_space, action_space, **options)`, the options being those of
    `Config.policy_options`. It assigns `features` (`ppo.policies.Features`, which reads observations) and `head`
    (`ppo.policies.Head`, which turns outputs into a distribution and samples into actions).
    """

    state_size = 0
    features: Any
    head: Any

    def initial_state(self, num_envs: int) -> Tensor:
        """Return the state (N, H) with which episodes begin."""
        return torch.zeros(num_envs, self.state_size, device=next(self.parameters()).device)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Return (dist, values, state) as the table says; acting is T = 1."""
        raise NotImplementedError

    def update_statistics(self, obs: Tensor, valid: Tensor) -> None:
        """Take the valid rows of obs (T, N, *obs) into the observation statistics; called after each update."""
        self.features.update_statistics(obs, valid)


def orthogonal(layer: Layer, gain: float = math.sqrt(2)) -> Layer:
    """Initialise weights orthogonally (Saxe et al. 2014) and biases with 0."""
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def tower(inputs: int, hidden_sizes: tuple[int, ...], outputs: int, activation: str, gain: float) -> nn.Sequential:
    """Return Linear layers with activations between them, the last one initialised with `gain`."""
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [orthogonal(nn.Linear(inputs, size)), ACTIVATIONS[activation]()]
        inputs = size
    return nn.Sequential(*layers, orthogonal(nn.Linear(inputs, outputs), gain))
