"""Coefficients: each update has the values of its share of the budget, and what adapts follows what was measured."""

import math

import pytest
import torch
from rollouts import make_rollout

from ppo import Config, UsageError
from ppo.loop.coefficients import Coefficients
from ppo.loop.rollout import Rollout

ADAPTIVE = {"learning_rate": "adaptive from 1e-3 between 1e-4 and 2e-3", "target_kl": 0.01}
STATS = {"approx_kl": 0.01, "entropy": 0.5}


def coefficients(**settings) -> Coefficients:
    return Coefficients(Config(**settings), torch.zeros(3))


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"learning_rate": 0.8}, 0.6),  # anneal_lr
        ({"learning_rate": 0.8, "anneal_lr": False}, 0.8),
        ({"learning_rate": "0.8 -> 0.4"}, 0.7),
        ({"learning_rate": "0.8 -> 0 at 0.5"}, 0.4),
    ],
    ids=str,
)
def test_the_learning_rate_follows_its_schedule_and_a_number_is_annealed_unless_told_otherwise(settings, rate):
    coefs = coefficients(**settings)
    assert coefs.set(0.25) == {"learning_rate": pytest.approx(rate)}  # the only one that is named, though constant
    assert coefs.learning_rate.item() == pytest.approx(rate)


def test_the_loss_has_the_values_of_the_share_and_those_that_change_are_named():
    coefs = coefficients(clip_coef="0.2 -> 0.1", ent_coef="0.01 -> 0 step at 0.5", vf_coef=0.3, learning_rate=1.0)
    tensors = [*coefs.loss]
    assert coefs.set(0.5) == {"learning_rate": 0.5, "clip_coef": pytest.approx(0.15), "ent_coef": 0.0}
    assert [x.item() for x in tensors] == pytest.approx([0.15, 0.0, 0.3])  # in place, where machine code reads them


@pytest.mark.parametrize(
    ("kl", "rates"),
    [
        (0.021, [1e-3, 1e-3 / 1.5, 1e-3 / 1.5**2]),  # above twice the target
        (0.019, [1e-3, 1e-3, 1e-3]),
        (0.0051, [1e-3, 1e-3, 1e-3]),
        (0.0049, [1e-3, 1.5e-3, 2e-3]),  # below half of it, up to the upper bound
        (9.0, [1e-3, 1e-3 / 1.5, 1e-3 / 1.5**2]),
        (0.0, [1e-3, 1e-3, 1e-3]),  # nothing was trained on
    ],
)
def test_an_adaptive_learning_rate_follows_the_kl_divergence_between_its_bounds(kl, rates):
    coefs, found = coefficients(**ADAPTIVE), []
    for spent in (0.0, 0.1, 0.2):
        found.append(coefs.set(spent)["learning_rate"])
        coefs.adapt(STATS | {"approx_kl": kl})
    assert found == pytest.approx(rates)
    assert coefs.largest_kl == 0.0  # the rate aims at target_kl, which ends no epochs
    assert coefficients(target_kl=0.01).largest_kl == 0.01


@pytest.mark.parametrize(
    ("entropy", "coef"),
    [
        (0.5, 0.01),
        (0.2, 0.01 * math.exp(0.03)),  # 0.3 nats below: 0.1 · 0.3
        (0.8, 0.01 * math.exp(-0.03)),
        (-9.0, 0.01 * math.exp(0.1)),  # an error counts as one nat at most
    ],
)
def test_ent_coef_follows_the_entropys_error(entropy, coef):
    coefs = coefficients(target_entropy=0.5, ent_coef=0.01)
    assert coefs.set(0.0)["ent_coef"] == 0.01
    coefs.adapt(STATS | {"entropy": entropy})
    assert coefs.set(0.1)["ent_coef"] == pytest.approx(coef)
    assert coefs.loss.ent_coef.item() == pytest.approx(coef)


def test_ent_coef_stays_between_its_bounds():
    for entropy, bound in ((-9.0, 1.0), (9.0, 1e-6)):
        coefs = coefficients(target_entropy=0.5, ent_coef=bound)
        coefs.adapt({"entropy": entropy})
        assert coefs.set(0.0)["ent_coef"] == bound


def test_what_adapts_is_restored_and_begins_again_where_the_setting_is_changed():
    settings = ADAPTIVE | {"target_entropy": 0.5, "ent_coef": 0.01}
    one, other = coefficients(**settings), coefficients(**settings)
    one.adapt({"approx_kl": 1.0, "entropy": 0.0})
    other.load_state_dict({name: x.clone() for name, x in one.state_dict().items()})
    assert other.set(0.5) == one.set(0.5) != coefficients(**settings).set(0.5)
    other.restart(["learning_rate", "gamma"])
    assert other.set(0.5) == one.set(0.5) | {"learning_rate": 1e-3}
    fresh = coefficients(**settings)
    fresh.load_state_dict({})  # of a run in which nothing adapted
    assert fresh.set(0.5)["learning_rate"] == 1e-3
    with pytest.raises(UsageError, match=r"adapted\.ent_coef is not a number"):
        other.load_state_dict({"adapted.ent_coef": torch.zeros(2, dtype=torch.float64)})
    assert coefficients().state_dict() == {}


def test_the_discount_follows_its_schedule():
    coefs = coefficients(gamma="0.9 -> 0.99 at 0.5", learning_rate=1.0)
    assert coefs.gamma == 0.9
    assert coefs.set(0.25) == {"learning_rate": 0.75, "gamma": pytest.approx(0.945)}
    assert coefs.gamma == pytest.approx(0.945)


def ended(**columns) -> Rollout:
    """Return a rollout of ten decisions, and two rows in which nothing was decided, that ends where a column names a row."""
    rollout = make_rollout(6, 2)
    rollout.valid = torch.tensor([[True, True]] * 5 + [[False, False]])
    for name, row in columns.items():
        flags = torch.zeros(12, dtype=torch.bool)
        flags[row] = True
        setattr(rollout, name, flags.view(6, 2))
    return rollout


def horizon(gamma: float) -> float:
    return 1 / (1 - gamma)


@pytest.mark.parametrize(
    ("columns", "ends"),
    [
        ({}, 0), ({"terminated": 3}, 1), ({"truncated": 3}, 2), ({"value_ends": 3}, 1), ({"truncated": 3, "terminated": 4}, 3),
        ({"truncated": 3, "terminated": 3}, 1), ({"truncated": 3, "value_ends": 3}, 1),
    ],
    ids=str,
)  # fmt: skip
def test_an_adaptive_discount_looks_as_far_ahead_as_recent_episodes_lasted(columns, ends):
    coefs = coefficients(gamma="adaptive from 0.8 between 0 and 1")
    coefs.follow(ended(**columns))  # ten decisions of two environments, which remember ten episodes of five steps each
    assert coefs.set(0.0)["gamma"] == coefs.gamma
    assert horizon(coefs.gamma) == pytest.approx((2 * 10 * 5 + 10) / (2 * 10 + ends))


def test_an_end_counts_once_and_only_after_a_decision():
    for rows, ends in (([11], 1), ([9, 11], 1), ([8, 9, 10, 11], 2), ([7, 11], 2)):
        coefs = coefficients(gamma="adaptive from 0.8 between 0 and 1")
        coefs.follow(ended(terminated=rows))  # rows 10 and 11 are no decisions
        assert horizon(coefs.set(0.0)["gamma"]) == pytest.approx(110 / (20 + ends))


@pytest.mark.parametrize(("rows", "gamma"), [([0], 0.9), (slice(0, 12), 0.7), ([], 0.95)])
def test_an_adaptive_discount_settles_at_the_mean_length_or_at_a_bound(rows, gamma):
    coefs = coefficients(gamma="adaptive from 0.8 between 0.7 and 0.95")
    for _ in range(300):
        coefs.follow(ended(terminated=rows))
    assert coefs.set(0.0)["gamma"] == pytest.approx(gamma, abs=1e-4)


def test_waves_of_time_limits_leave_the_horizon_at_half_of_the_limit():
    coefs, seen = coefficients(gamma="adaptive from 0.98 between 0.9 and 0.998", num_envs=8), []
    for step in range(0, 20_000, 250):
        rollout = make_rollout(250, 8)
        if step % 1_000 == 750:
            rollout.truncated = rollout.truncated.clone()
            rollout.truncated[-1] = True
        coefs.follow(rollout)
        seen.append(coefs.set(0.0)["gamma"])
    assert seen[:2] == pytest.approx([1 - 1 / 75, 0.99])  # as long as nothing ends, it looks 25 steps further each time
    assert min(map(horizon, seen[-20:])) > 470


def test_a_rollout_without_decisions_changes_no_discount():
    coefs, rollout = coefficients(gamma="adaptive from 0.95"), ended(terminated=3)
    rollout.valid = torch.zeros_like(rollout.valid)
    coefs.follow(rollout)
    assert coefs.set(0.0)["gamma"] == pytest.approx(0.95)
