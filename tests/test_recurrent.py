"""Recurrent policies: a trunk between embedding and heads, and a critic that may have its own."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from ppo.policies.recurrent import RecurrentPolicy


class Sum(nn.Module):
    """A trunk whose state is the sum of its inputs since the episode began."""

    def __init__(self, input_size, **options):
        super().__init__()
        self.state_size = self.output_size = input_size

    def forward(self, x, state, starts):
        sums = []
        for step, start in zip(x, starts, strict=True):
            state = torch.where(start.unsqueeze(-1), 0, state) + step
            sums.append(state)
        return torch.stack(sums), state


class SumPolicy(RecurrentPolicy):
    """A user's own recurrent policy."""

    trunk = Sum


@pytest.mark.parametrize("separate", [False, True])
def test_a_users_trunk_carries_the_state_from_step_to_step(separate):
    policy = SumPolicy(Box(-1, 1, (2,)), Discrete(3), hidden_sizes=(99, 4), separate_critic=separate)
    obs, starts = torch.randn(3, 2, 2), torch.zeros(3, 2, dtype=torch.bool)
    starts[2, 1] = True
    state = torch.randn(2, policy.state_size)
    dist, values, after = policy(obs, state, starts)
    assert policy.state_size == (8 if separate else 4)
    x = policy.embeddings[-1](obs)  # (T, N, 4) of the critic
    expected = state[:, -4:] + x.sum(0)
    expected[1] = x[2, 1]
    torch.testing.assert_close(after[:, -4:], expected)
    torch.testing.assert_close(values[2], policy.critic(expected).squeeze(-1))
    assert dist.log_probs.shape == (3, 2, 3)


def test_a_critic_of_its_own_sends_no_gradient_to_the_actors_trunk():
    policy = SumPolicy(Box(-1, 1, (2,)), Discrete(3), separate_critic=True)
    obs, starts = torch.randn(3, 2, 2), torch.zeros(3, 2, dtype=torch.bool)
    _, values, _ = policy(obs, policy.initial_state(2), starts)
    values.sum().backward()
    assert policy.embeddings[0].weight.grad is None
    assert policy.embeddings[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("options", "number"), [({}, 3), ({"convolutions": "impala"}, 15)])
def test_images_are_convolved(options, number):
    policy = SumPolicy(Box(0, 255, (36, 36, 3), np.uint8), Discrete(3), **options)
    assert sum(isinstance(module, nn.Conv2d) for module in policy.modules()) == number
