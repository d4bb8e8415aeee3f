"""The transformer policy: attention reaches `context` steps back and not beyond the start of the episode."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from ppo.errors import UsageError
from ppo.policies.transformer import TransformerPolicy


def values(policy, obs, starts):
    return policy(obs, policy.initial_state(1), starts)[1][:, 0]


@pytest.mark.parametrize(("context", "start", "reached"), [(3, 0, [2, 3, 4]), (8, 0, [2, 3, 4, 5, 6]), (8, 4, [2, 3])])
@torch.no_grad()
def test_an_observation_reaches_the_steps_of_its_episode_within_the_context(context, start, reached):
    torch.manual_seed(0)
    policy = TransformerPolicy(Box(-1, 1, (2,)), Discrete(3), hidden_sizes=(16,), context=context)
    obs, starts = torch.randn(7, 1, 2), torch.zeros(7, 1, dtype=torch.bool)
    starts[0] = starts[start] = True
    changed = obs.clone()
    changed[2] += 1
    different = (values(policy, obs, starts) - values(policy, changed, starts)).abs() > 1e-6
    assert different.nonzero().flatten().tolist() == reached


def test_the_state_counts_the_steps_of_the_episode_up_to_the_context():
    policy = TransformerPolicy(Discrete(3), Discrete(3), hidden_sizes=(16,), context=4)
    state, counts = policy.initial_state(1), []
    for step in range(7):
        _, _, state = policy(torch.zeros(1, 1), state, torch.tensor([[step in (0, 5)]]))
        counts.append(int(state[0, 0]))
    assert counts == [1, 2, 3, 4, 4, 1, 2]


def test_a_width_that_does_not_divide_into_heads_is_refused():
    with pytest.raises(UsageError, match="hidden_sizes = 20 of a transformer must be a multiple of 16"):
        TransformerPolicy(Discrete(3), Discrete(3), hidden_sizes=(20,))
