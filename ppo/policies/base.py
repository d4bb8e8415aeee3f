"""The interface between a policy and the rest of the package, and the initialisation of the built-in policies."""

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ppo.policies.distributions import Distribution

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}


class Policy(nn.Module):
    """The interface of a policy.

    ==========  ==============  ==================================================
    obs         (T, N, *obs)    observations, packed (`ppo.envs.spaces.Packer`)
    state       (N, H)          recurrent state before the first step; H = 0 when feed-forward
    starts      (T, N) bool     step t begins an episode: the state is reset there
    -> dist     over (T, N)     action distribution
    -> values   (T, N)          V(obs)
    -> state    (N, H)          recurrent state after the last step
    ==========  ==============  ==================================================

    A subclass is built as `Class(obs_space, action_space, **options)` with the options of `Config.policy_options`. It
    assigns `features` (`ppo.policies.Features`, which reads observations) and `head` (`ppo.policies.Head`, which turns
    outputs into a distribution and samples into actions).
    """

    state_size = 0
    features: Any
    head: Any

    def initial_state(self, num_envs: int) -> Tensor:
        """Return the state (N, H) at the start of an episode."""
        return torch.zeros(num_envs, self.state_size, device=next(self.parameters()).device)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Return (dist, values, state) as in the table; acting is T = 1."""
        raise NotImplementedError

    def update_statistics(self, obs: Tensor, valid: Tensor) -> None:
        """Update the observation statistics by the valid rows of obs (T, N, *obs); called after each update."""
        self.features.update_statistics(obs, valid)


def orthogonal(layer: Layer, gain: float = math.sqrt(2)) -> Layer:
    """Initialise weights orthogonally (Saxe et al. 2014) and biases with 0."""
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def value_layers(inputs: int, hidden_sizes: tuple[int, ...], activation: str) -> nn.Module:
    """Return the layers that map features to a value: one linear layer, or a tower with hidden layers."""
    if not hidden_sizes:
        return orthogonal(nn.Linear(inputs, 1), gain=1.0)
    return tower(inputs, hidden_sizes, 1, activation, gain=1.0)


def tower(inputs: int, hidden_sizes: tuple[int, ...], outputs: int, activation: str, gain: float) -> nn.Sequential:
    """Return Linear layers with activations between them; `gain` initialises the last one."""
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [orthogonal(nn.Linear(inputs, size)), ACTIVATIONS[activation]()]
        inputs = size
    return nn.Sequential(*layers, orthogonal(nn.Linear(inputs, outputs), gain))
