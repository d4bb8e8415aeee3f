"""Quantisation: the error of a weight is at most half a step of its row, and log-probabilities hardly change."""

import pytest
import torch
from gymnasium.spaces import Discrete

from ppo.machine.quantize import Int8, quantize
from ppo.policies import build_policy


def test_a_weight_is_off_by_at_most_half_a_step_of_its_row():
    torch.manual_seed(0)
    weight = torch.randn(5, 7) * torch.tensor([1e-3, 1.0, 50.0, 0.0, 2.0]).unsqueeze(1)
    whole, scale = quantize(weight)
    assert whole.dtype == torch.int8
    assert scale.shape == (5, 1)
    assert ((whole * scale - weight).abs() <= scale / 2 + 1e-9).all()
    assert whole.abs().amax(1).tolist() == [127, 127, 127, 0, 127]  # a row of zeros stays one
    grid = torch.tensor([[-127.0, 3.0, 0.0, 64.0]]) * 0.25
    assert torch.equal(quantize(grid)[0] * quantize(grid)[1], grid)


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_log_probabilities_change_by_little_and_the_module_stays_as_it_is(name):
    torch.manual_seed(0)
    policy = build_policy(name, Discrete(12), Discrete(12), {"hidden_sizes": (64,), "state_size": 64, "context": 16})
    with torch.no_grad():
        policy.actor.weight.mul_(1000)  # as certain as a trained policy
    before = {key: x.clone() for key, x in policy.state_dict().items()}
    obs, starts = torch.randint(12, (20, 8)), torch.zeros(20, 8, dtype=torch.bool)
    exact, found = (f(obs, policy.initial_state(8), starts)[0].log_probs for f in (policy, Int8(policy)))
    assert exact.std(-1).mean() > 0.3
    divergence = (exact.exp() * (exact - found)).sum(-1)
    assert 0 < divergence.mean() < 1e-3  # nats
    assert all(torch.equal(x, before[key]) for key, x in policy.state_dict().items())
    numbers = sum(x.numel() * x.element_size() for x in Int8(policy).state_dict().values())
    assert numbers < 0.35 * sum(x.numel() * x.element_size() for x in before.values())
