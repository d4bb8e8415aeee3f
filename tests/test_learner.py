"""The learner: what it trains on, and what it leaves alone."""

from dataclasses import replace

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from ppo import Config
from ppo.loop.learner import Learner
from ppo.loop.rollout import Rollout, Successors
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy

T, N = 4, 2
ALGORITHMS = {
    "normalised advantages": {},
    "no baseline": {"baseline": False, "norm_adv": False, "gae_lambda": 1.0},
    "groups": {"baseline": False, "norm_adv": False, "group_size": 2, "gamma": 1.0},
    "recomputed": {"recompute_advantages": True},
}


def rollout_of(next_valid: list[bool]) -> Rollout:
    """Return random decisions; `next_valid` says for each environment whether another decision follows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, T, N, generator=generator)
    no, last = torch.zeros(T, N, dtype=torch.bool), torch.arange((T - 1) * N, T * N)
    return Rollout(
        obs=torch.stack([x[0], x[1]], dim=-1), states=torch.zeros(T, N, 0), starts=no, valid=~no,
        actions=(x[2] > 0).long(), log_probs=x[3] - 1, rewards=x[4], penalties=x[4] * 0, terminated=no.clone(), truncated=no, values=x[5],
        next_values=x[6], next_valid=torch.tensor(next_valid),
        successors=Successors(last, torch.zeros(N, 2), torch.zeros(N, 0)),
    )  # fmt: skip


def update(rollout: Rollout, **settings) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the weights after an update, and its statistics."""
    torch.manual_seed(0)
    policy = FlatPolicy(build_policy("mlp", Box(-1, 1, (2,)), Discrete(2), {"hidden_sizes": (4,)}))
    config = Config().replace({"num_envs": N, "num_steps": T, "num_minibatches": 2, "learning_rate": 0.1} | settings)
    return policy.vector, Learner(policy, config).update(rollout, 0.0)


def updated(rollout: Rollout, **settings) -> torch.Tensor:
    """Return the weights after an update."""
    return update(rollout, **settings)[0]


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_decision_whose_outcome_the_rollout_does_not_show_trains_nothing(settings):
    rollout = rollout_of(next_valid=[True, False])  # the last decision of environment 1 has no known outcome
    other = replace(
        rollout, actions=rollout.actions.clone(), log_probs=rollout.log_probs.clone(), values=rollout.values.clone()
    )
    other.actions[-1, 1] = 1 - other.actions[-1, 1]
    other.log_probs[-1, 1], other.values[-1, 1] = -3.0, 7.0
    assert torch.equal(updated(rollout, **settings), updated(other, **settings))


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_decision_with_a_known_outcome_trains(settings):
    rollout = rollout_of(next_valid=[True, True])
    rollout.terminated[-1] = "group_size" in settings  # whose outcomes are whole responses
    other = replace(rollout, actions=rollout.actions.clone())
    other.actions[-1, 1] = 1 - other.actions[-1, 1]
    assert not torch.equal(updated(rollout, **settings), updated(other, **settings))


def test_a_group_that_the_rollout_cuts_trains_nothing_and_is_not_in_the_mean():
    rollout, settings = rollout_of(next_valid=[True, True]), ALGORITHMS["groups"]
    rollout.terminated[1] = True  # the first two rows are whole responses; the group of the others goes on
    rollout.terminated[3, 0] = True  # also where one of its members has ended
    other = replace(rollout, **{name: getattr(rollout, name).clone() for name in ("actions", "log_probs", "rewards")})
    other.actions[2:], other.log_probs[2:], other.rewards[2:] = 1 - other.actions[2:], -3.0, 7.0
    assert torch.equal(updated(rollout, **settings), updated(other, **settings))
    one = {"num_minibatches": 1, "update_epochs": 1, "vf_coef": 0.0, "max_grad_norm": 0.0}
    whole = replace(rollout, valid=rollout.valid.clone())
    whole.valid[2:] = False
    assert update(rollout, **settings, **one)[1]["grad_norm"] == update(whole, **settings, **one)[1]["grad_norm"] > 0


def test_the_penalty_of_a_group_is_proportional_to_its_coefficient_where_all_rewards_are_equal():
    rollout, norms = rollout_of(next_valid=[True, True]), []
    rollout.terminated[-1] = True
    rollout.rewards.fill_(1.0)
    kl = torch.randn(T, N, generator=torch.Generator().manual_seed(1))
    one = {"num_minibatches": 1, "update_epochs": 1, "vf_coef": 0.0, "max_grad_norm": 0.0}
    for coef in (0.001, 0.01, 0.1, 1.0):
        stats = update(replace(rollout, penalties=coef * kl), **ALGORITHMS["groups"], **one)[1]
        norms.append(stats["grad_norm"] / coef)
    assert norms[0] > 0.01
    assert norms == pytest.approx([norms[0]] * 4, rel=1e-4)
