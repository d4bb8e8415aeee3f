"""The gru policy is a GRUCell called step by step, which forgets where an episode begins."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from ppo.policies.gru import GRU, GRUPolicy

N = 3


def make(steps: int):
    """Return a policy, observations (T, N, 3) and a state (N, 5)."""
    torch.manual_seed(0)
    policy = GRUPolicy(Box(-1, 1, (3,)), Discrete(4), hidden_sizes=(16,), state_size=5)
    nn.init.normal_(policy.actor.weight, 0, 0.5)
    return policy, torch.randn(steps, N, 3), torch.randn(N, 5).tanh()


def reference_gru(cell: nn.GRUCell, x, state, starts):
    outputs = []
    for step, start in zip(x, starts, strict=True):
        state = cell(step, torch.where(start.unsqueeze(-1), torch.zeros_like(state), state))
        outputs.append(state)
    return torch.stack(outputs), state


def test_a_gru_remembers_within_an_episode_and_forgets_at_its_start():
    policy, obs, state = make(3)
    never = torch.zeros(3, N, dtype=torch.bool)
    again = never.clone()
    again[2] = True
    changed = obs.clone()
    changed[1] += 0.5
    last = [
        policy(x, state, starts)[1][2] for x, starts in ((obs, never), (changed, never), (obs, again), (changed, again))
    ]
    assert (last[0] - last[1]).abs().min() > 1e-6
    torch.testing.assert_close(last[2], last[3], rtol=0, atol=0)


RESETS = {
    "never": lambda steps: torch.zeros(steps, N, dtype=torch.bool),
    "at the first step": lambda steps: torch.arange(steps).eq(0).unsqueeze(1).expand(steps, N),
    "at the last step": lambda steps: torch.arange(steps).eq(steps - 1).unsqueeze(1).expand(steps, N),
    "of one environment alone": lambda steps: (
        torch.arange(N).eq(1).expand(steps, N) & (torch.arange(steps) % 3 == 1)[:, None]
    ),
    "at every step": lambda steps: torch.ones(steps, N, dtype=torch.bool),
}


@pytest.mark.parametrize("resets", RESETS.values(), ids=RESETS)
@pytest.mark.parametrize("steps", [1, 2, 8, 16])
def test_the_gru_policy_and_all_its_gradients_are_those_of_a_grucell_called_step_by_step(steps, resets):
    policy, obs, state = make(steps)
    policy, obs, state, starts = policy.double(), obs.double(), state.double(), resets(steps)
    actions, weights = torch.randint(4, (steps, N)), torch.randn(2, steps, N).double()
    x, last = reference_gru(policy.trunks[0].cells[0], policy.embeddings[0](obs).tanh(), state, starts)
    expected = torch.distributions.Categorical(logits=policy.actor(x)).log_prob(actions), policy.critic(x).squeeze(-1)
    dist, values, after = policy(obs, state, starts)
    actual = dist.log_prob(actions), values
    torch.testing.assert_close((*actual, after), (*expected, last), rtol=1e-10, atol=1e-10)
    losses = [(weights * torch.stack(pair)).sum() for pair in (actual, expected)]
    gradients = [torch.autograd.grad(loss, [*policy.parameters()]) for loss in losses]
    for (name, _), ours, theirs in zip(policy.named_parameters(), *gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10, msg=name)


def test_layers_read_each_other_and_keep_their_states_side_by_side():
    torch.manual_seed(0)
    trunk, x, starts = GRU(3, state_size=4, num_layers=2), torch.randn(5, N, 3), torch.rand(5, N) < 0.3
    state = torch.randn(N, 8)
    first, last_1 = reference_gru(trunk.cells[0], x.tanh(), state[:, :4], starts)
    second, last_2 = reference_gru(trunk.cells[1], first, state[:, 4:], starts)
    outputs, after = trunk(x, state, starts)
    torch.testing.assert_close(outputs, second)
    torch.testing.assert_close(after, torch.cat([last_1, last_2], dim=-1))
