"""The learner: what it trains on, and what it leaves alone."""

import math
from dataclasses import replace

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from ppo import Config, NonFiniteError
from ppo.loop import learner
from ppo.loop.learner import Learner
from ppo.loop.rollout import Rollout, Successors
from ppo.machine.distributed import RankLost
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
        actions=(x[2] > 0).long(), log_probs=x[3] - 1, rewards=x[4], penalties=x[4] * 0, kl_coefs=x[4] * 0, reference=x[4].new_zeros(*x[4].shape, 0), terminated=no.clone(), truncated=no, value_ends=no, values=x[5],
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
def test_a_minibatch_without_a_row_to_train_on_moves_nothing(settings):
    torch.manual_seed(0)
    policy = FlatPolicy(build_policy("mlp", Box(-1, 1, (2,)), Discrete(2), {"hidden_sizes": (4,)}))
    learner = Learner(policy, Config().replace({"num_envs": N, "num_steps": T, "num_minibatches": 2} | settings))
    rollout = rollout_of(next_valid=[True, True])
    rollout.terminated[-1] = "group_size" in settings
    start = policy.vector.clone()
    learner.update(rollout, 0.0)
    moved = policy.vector.clone()
    assert not torch.equal(moved, start)
    learner.update(replace(rollout, valid=torch.zeros_like(rollout.valid)), 0.0)  # momentum alone
    assert torch.equal(policy.vector, moved)


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
    near = torch.tensor([0.9, 0.1]).log().expand(T, N, 2)  # both choices, of the reference
    one = {"num_minibatches": 1, "update_epochs": 1, "vf_coef": 0.0, "max_grad_norm": 0.0}
    for coef in (0.001, 0.01, 0.1, 1.0):
        penalized = replace(rollout, reference=near, kl_coefs=torch.full((T, N), coef))
        stats = update(penalized, **ALGORITHMS["groups"], **one)[1]
        norms.append(stats["grad_norm"] / coef)
    assert norms[0] > 0.01
    assert norms == pytest.approx([norms[0]] * 4, rel=1e-4)


def test_without_a_reward_the_gradient_is_that_of_the_divergence_whatever_is_rewarded():
    rollout = rollout_of(next_valid=[True, True])
    near = torch.tensor([0.9, 0.1]).log().expand(T, N, 2)
    rollout = replace(rollout, reference=near, kl_coefs=torch.full((T, N), 0.5))
    other = replace(rollout, rewards=rollout.rewards + 3, values=rollout.values * 5)
    settings = {"reward": "none", "reference": "RUN", "vf_coef": 0.0, "max_grad_norm": 0.0}
    assert torch.equal(updated(rollout, **settings), updated(other, **settings))
    torch.manual_seed(0)
    policy = build_policy("mlp", Box(-1, 1, (2,)), Discrete(2), {"hidden_sizes": (4,)})
    logits = policy(rollout.obs, rollout.states[0], rollout.starts)[0].log_probs
    (0.5 * torch.nn.functional.kl_div(near, logits, log_target=True, reduction="sum") / (T * N)).backward()
    norm = sum(float(p.grad.square().sum()) for p in policy.parameters() if p.grad is not None) ** 0.5
    found = update(rollout, **settings, num_minibatches=1, update_epochs=1)[1]["grad_norm"]
    assert found == pytest.approx(norm, rel=1e-5)


def broken(row: tuple[int, int]) -> Rollout:
    """Return a rollout whose old log-probability at (t, n) makes an infinite ratio."""
    rollout = rollout_of([True, True])
    rollout.log_probs[row] = -1e4
    return rollout


def test_the_first_row_that_is_not_finite_is_named_with_its_minibatch():
    with pytest.raises(
        NonFiniteError, match=r"policy_loss is not finite in optimizer step \d .* environment 1 at step 2"
    ) as caught:
        update(broken((2, 1)), num_minibatches=1)
    assert caught.value.tensors["rows"].numel() == T * N
    assert caught.value.tensors["log_probs"].min() == -1e4


def test_of_several_ranks_the_one_with_the_row_that_is_not_finite_says_so(monkeypatch):
    """Rank 1 has the row in its half of the minibatch; rank 0 gets only the sum, which is not finite either."""
    monkeypatch.setattr(learner, "gathered", lambda row: [-1, row] if row >= 0 else [row, 0])
    monkeypatch.setattr(learner, "size", lambda: 2)
    monkeypatch.setattr(learner, "any_rank", bool)
    monkeypatch.setattr(learner, "sum_", lambda x: x + float("nan"))
    order = torch.arange(T * N).view(T, N).T.flatten()  # environment 1 has the second half
    monkeypatch.setattr("torch.randperm", lambda *_, **__: order)
    errors = []
    for rank in range(2):
        monkeypatch.setattr(learner, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(learner, "part_of", lambda *_, rank=rank: slice(rank * T, rank * T + T))
        with pytest.raises((NonFiniteError, RankLost)) as caught:
            update(broken((2, 1)), num_minibatches=1)
        errors.append(caught.value)
    assert isinstance(errors[0], RankLost)
    assert "rank 1 has a number that is not finite" in str(errors[0])
    assert "environment 1 at step 2" in str(errors[1])


def test_statistics_are_means_over_the_minibatches_that_have_a_row_to_train_on():
    rollout = rollout_of(next_valid=[True, True])
    still = {"learning_rate": 1e-12, "update_epochs": 1, "norm_adv": False}
    part = replace(rollout, valid=rollout.valid.clone())
    part.valid[:, 1] = False
    whole, rows = (update(part, num_minibatches=n, **still)[1] for n in (1, T * N))  # half of the latter are empty
    assert rows["entropy"] == pytest.approx(whole["entropy"], rel=1e-4)
    assert rows["value_loss"] == pytest.approx(whole["value_loss"], rel=1e-4)
    part.valid[:] = False
    adapting = {"ent_coef": 0.01, "target_entropy": 0.5}
    nothing = update(part, num_minibatches=2, **still, **adapting)[1]
    assert math.isnan(nothing["entropy"])
    assert nothing["ent_coef"] == 0.01
