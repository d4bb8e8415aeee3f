"""The mlp policy: actor and critic are separate towers on the same features."""

import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from ppo.policies.mlp import MLPPolicy


def test_actor_and_critic_share_nothing():
    policy = MLPPolicy(Box(-1, 1, (3,)), Discrete(4), hidden_sizes=(8, 5))
    obs, starts = torch.randn(2, 3, 3), torch.zeros(2, 3, dtype=torch.bool)
    dist, values, _ = policy(obs, policy.initial_state(3), starts)
    (gradients,) = [torch.autograd.grad(values.sum(), [*policy.actor.parameters()], allow_unused=True)]
    assert all(x is None for x in gradients)
    assert values.shape == dist.entropy().shape == (2, 3)
    assert [x.out_features for x in policy.actor if isinstance(x, nn.Linear)] == [8, 5, 4]
    assert [x.out_features for x in policy.critic if isinstance(x, nn.Linear)] == [8, 5, 1]


def test_it_starts_close_to_uniform():
    torch.manual_seed(0)
    policy = MLPPolicy(Box(-1, 1, (3,)), Discrete(4))
    dist, _, _ = policy(torch.randn(1, 100, 3), policy.initial_state(100), torch.zeros(1, 100, dtype=torch.bool))
    torch.testing.assert_close(dist.log_probs.exp(), torch.full((1, 100, 4), 0.25), atol=0.01, rtol=0)
