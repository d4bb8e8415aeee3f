"""gae is its definition: a discounted sum of one-step errors that ends with the episode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo.loop.advantages import (
    above_quantile,
    gae,
    group_complete,
    group_relative,
    outcome_known,
    repeats,
    rewards_to_go,
    whole_returns,
)

checked = settings(max_examples=60, deadline=None, derandomize=True)
shares = st.floats(0, 1)


@st.composite
def rollouts(draw):
    """Draw rewards, values, next_values, terminated, truncated and valid, all (T, N); all rows are valid."""
    shape = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    flags = (rng.random((2, *shape)) < draw(st.sampled_from([0.0, 0.2, 0.6]))).astype(bool)
    return *rng.normal(0, 3, (3, *shape)), *flags, np.ones(shape, bool)


def gae_by_definition(rewards, values, next_values, terminated, truncated, valid, gamma, lam):
    """Sum (γλ)ᵏ δₜ₊ₖ from each row to the end of its episode or of the rollout, in O(T²)."""
    found = np.zeros(rewards.shape)
    for t, n in np.ndindex(rewards.shape):
        for k in range(t, len(rewards)):
            bootstrap = 0.0 if terminated[k, n] else gamma * next_values[k, n]
            found[t, n] += (gamma * lam) ** (k - t) * (rewards[k, n] + bootstrap - values[k, n])
            if terminated[k, n] or truncated[k, n]:
                break
    return found


@checked
@given(rollouts(), shares, shares)
def test_gae_is_the_discounted_sum_of_one_step_errors_up_to_done(rollout, gamma, lam):
    np.testing.assert_allclose(gae(*rollout, gamma, lam), gae_by_definition(*rollout, gamma, lam), atol=1e-9)


@checked
@given(rollouts(), shares)
def test_lambda_one_is_the_monte_carlo_return_with_a_bootstrap_where_it_is_cut(rollout, gamma):
    rewards, values, next_values, terminated, truncated, _ = rollout
    done = terminated | truncated
    next_values[:-1] = np.where(done[:-1], next_values[:-1], values[1:])  # within an episode, the next row's value
    found = gae(*rollout, gamma, 1.0) + values
    for t, n in np.ndindex(rewards.shape):
        ends = np.flatnonzero(done[t:, n])
        last = t + ends[0] if len(ends) else len(rewards) - 1
        tail = 0.0 if terminated[last, n] else next_values[last, n]
        expected = sum(gamma**k * x for k, x in enumerate([*rewards[t : last + 1, n], tail]))
        assert found[t, n] == pytest.approx(expected, abs=1e-9)


@checked
@given(rollouts(), shares)
def test_lambda_zero_is_the_one_step_temporal_difference(rollout, gamma):
    rewards, values, next_values, terminated, *_ = rollout
    expected = rewards + gamma * np.where(terminated, 0.0, next_values) - values
    np.testing.assert_allclose(gae(*rollout, gamma, 0.0), expected, atol=1e-9)


@checked
@given(rollouts(), st.integers(0, 7), shares, shares)
def test_rows_in_which_nothing_is_decided_take_no_time(rollout, at, gamma, lam):
    at %= len(rollout[0])
    expected = gae(*rollout, gamma, lam)
    done, values, next_values = rollout[3] | rollout[4], *rollout[1:3]
    garbage = np.full_like(values[0], 77.0)
    insert = [np.insert(column, at + 1, 0, axis=0) for column in rollout]  # rewards 0, no flag, not valid
    # What follows the inserted row is what followed the row before it, but where an episode ended: there it is dead.
    insert[1][at + 1], insert[2][at + 1] = garbage, np.where(done[at], garbage, next_values[at])
    insert[2][at] = np.where(done[at], next_values[at], garbage)
    found = np.delete(gae(*insert, gamma, lam), at + 1, axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_what_is_earned_while_nothing_is_decided_goes_to_the_decision_before():
    rewards, values = np.array([[1.0], [4.0], [0.0]]), np.array([[2.0], [99.0], [10.0]])
    next_values, never = np.array([[99.0], [10.0], [6.0]]), np.zeros((3, 1), bool)
    found = gae(rewards, values, next_values, never, never, np.array([[True], [False], [True]]), 0.5, 0.5)
    # 1 + 0.5 · (4 + 10) − 2 = 6 and 0 + 0.5 · 6 − 10 = −7, of which a quarter comes back
    np.testing.assert_allclose(found[[0, 2]], [[4.25], [-7.0]])


@pytest.mark.parametrize(
    ("valid", "next_valid", "expected"),
    [
        ([True, True, True], True, [3.0, 4.0, 6.0]),  # δ = (1 + 5 − 5, …): 1 + ½ (1 + ½ · 6), 1 + ½ · 6, 1 + 10 − 5
        ([True, True, True], False, [1.5, 1.0, 0.0]),  # the last decision's outcome is not known: 1 + ½ · 1
        ([True, True, False], False, [1.0, 0.0, 0.0]),  # nor is the second's, nor is the last row one
    ],
)
def test_a_decision_whose_outcome_the_rollout_does_not_show_teaches_nothing(valid, next_valid, expected):
    values, never = np.full((3, 1), 5.0), np.zeros((3, 1), bool)
    next_values = np.array([[5.0], [5.0], [10.0]])  # 10: of the row after the last one
    valid = np.array([valid]).T
    found = gae(np.ones((3, 1)), values, next_values, never, never, valid, 1.0, 0.5, np.array([next_valid]))
    np.testing.assert_allclose(found.ravel(), expected)


@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_an_outcome_is_known_where_the_episode_ended_before_the_prompt_that_the_rollout_ends_in(flag):
    rewards, values, next_values = np.array([[[1.0], [0.0]], [[2.0], [99.0]], [[4.0], [99.0]]])
    flags = [np.array([[flag == name], [False]]) for name in ("terminated", "truncated")]
    found = gae(rewards, values, next_values, *flags, np.array([[True], [False]]), 1.0, 0.5, np.array([False]))
    assert found[0] == (-1.0 if flag == "terminated" else 3.0)


@pytest.mark.parametrize(
    ("terminated", "truncated", "first"),
    [
        (False, False, 53.5),  # 1 + 0.5 · 10 − 2 = 4, and 0.5 · 99 from the next row
        (True, False, -1.0),  # 1 − 2
        (False, True, 4.0),  # 1 + 0.5 · 10 − 2
        (True, True, -1.0),  # counts as terminated
    ],
    ids=["goes on", "terminated", "truncated", "both"],
)
def test_truncation_bootstraps_but_termination_does_not(terminated, truncated, first):
    column = np.array([[1.0], [100.0]]), np.array([[2.0], [1.0]]), np.array([[10.0], [0.0]])
    flags = np.array([[terminated], [False]]), np.array([[truncated], [False]])
    np.testing.assert_allclose(gae(*column, *flags, np.full((2, 1), True), 0.5, 1.0), [[first], [99.0]])


@checked
@given(st.floats(0, 0.99), shares, st.integers(1, 20))
def test_constant_reward_valued_at_its_true_sum_has_no_advantage(gamma, lam, steps):
    rewards, value = np.ones((steps, 2)), np.full((steps, 2), 1 / (1 - gamma))
    never = np.zeros((steps, 2), bool)
    truncated = np.arange(2 * steps).reshape(steps, 2) % 3 == 0
    for cut in (never, truncated):
        np.testing.assert_allclose(gae(rewards, value, value, never, cut, ~never, gamma, lam), 0.0, atol=1e-9)


def test_float32_rollouts_give_float32_advantages_close_to_the_definition():
    rng = np.random.default_rng(0)
    columns = rng.normal(0, 1, (3, 200, 2)).astype(np.float32)
    flags = *(rng.random((2, 200, 2)) < 0.01), np.ones((200, 2), bool)
    found = gae(*columns, *flags, 0.99, 0.95)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gae_by_definition(*columns.astype(float), *flags, 0.99, 0.95), atol=1e-4)


def test_rewards_to_go_are_summed_to_the_end_of_the_episode():
    rewards, done = np.array([[1.0], [2.0], [4.0], [8.0]]), np.array([[False], [True], [False], [False]])
    assert rewards_to_go(rewards, done).ravel().tolist() == [3, 2, 12, 8]


def test_an_outcome_is_known_where_an_end_or_a_decision_follows_in_the_rollout():
    valid = np.array([[True], [False], [True], [False], [False]])
    never, end = np.zeros((5, 1), bool), np.array([[False], [False], [False], [True], [False]])
    assert outcome_known(valid, never, np.array([False])).ravel().tolist() == [True, True, False, False, False]
    assert outcome_known(valid, never, np.array([True])).all()
    assert outcome_known(valid, end, np.array([False])).ravel().tolist() == [True, True, True, True, False]


def test_group_weights_are_returns_in_deviations_from_the_mean_of_their_group():
    rewards, done = np.array([[0.0, 2.0, 5.0, 5.0], [1.0, 1.0, 0.0, 0.0]]), np.zeros((2, 4), bool)
    # first step: groups (1, 3) and (5, 5); second step: (1, 1) and (0, 0)
    weights = group_relative(rewards, done, 2)
    np.testing.assert_allclose(weights.numpy(), [[-1 / 1.0001, 1 / 1.0001, 0, 0], [0, 0, 0, 0]])


def test_group_weights_end_with_each_response():
    rewards, done = np.array([[1.0, 0.0], [4.0, 4.0]]), np.array([[True, False], [False, False]])
    weights = group_relative(rewards, done, 2)  # returns (1, 4), then (4, 4)
    np.testing.assert_allclose(weights.numpy(), [[-1.5 / 1.5001, 1.5 / 1.5001], [0, 0]])


def test_a_group_is_complete_up_to_the_last_row_in_which_all_its_responses_have_ended():
    done = np.array([[False] * 4, [True, True, True, False], [False] * 4, [True, False, False, False]])
    assert group_complete(done, 2).tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2
    assert group_complete(done, 1)[3].tolist() == [True, False, False, False]


def test_a_whole_return_is_that_of_every_row_of_an_episode_inside_the_rollout():
    # environment 0: an earlier episode ends, one of two rows, a cut one; environment 1: a row that resets, then one of three rows
    rewards = np.array([[1.0, 9.0], [2.0, 1.0], [4.0, 2.0], [8.0, 4.0]])
    starts = np.array([[False, False], [True, True], [False, False], [True, False]])
    done = np.array([[True, False], [False, False], [True, False], [False, True]])
    returns, whole = whole_returns(rewards, starts, done)
    assert whole.tolist() == [[False, False], [True, True], [True, True], [False, True]]
    assert returns[whole].tolist() == [6, 7, 6, 7, 7]
    rewards[:], done[3, 0] = 1.0, True
    assert whole_returns(rewards, starts, done)[1].tolist() == [
        [False, False],
        [True, True],
        [True, True],
        [True, True],
    ]


def test_an_episode_repeats_one_with_the_same_rows_that_ended_before_it():
    # columns, top down: ab | ab | b, a | ba | ab that began before | a, a
    rows = np.array([[1, 1, 2, 2, 1, 1], [2, 2, 1, 1, 2, 1]], np.uint8)[..., None]
    starts = np.array([[True, True, True, True, False, True], [False, False, True, False, False, True]])
    done = np.array([[False, False, True, False, False, True], [True] * 6])
    whole = np.array([[True, True, True, True, False, True]] * 2)
    expected = [[False, True, False, False, False, False], [False, True, True, False, False, True]]
    assert repeats(rows, whole, starts, done).tolist() == expected
    assert not repeats(rows + np.arange(6, dtype=np.uint8)[None, :, None] * 10, whole, starts, done)[:, :5].any()


def test_the_distance_to_the_quantile_counts_each_episode_once():
    # four episodes with the returns 0, 1, 2, 3, the last of two rows; the median is 1.5, the 0.9-quantile 2.7
    returns = np.array([[0.0, 2.0], [1.0, 3.0], [50.0, 3.0]])
    episodes = np.array([[True, True], [True, True], [False, False]])
    np.testing.assert_allclose(above_quantile(returns, episodes, 0.5), returns - 1.5)
    np.testing.assert_allclose(above_quantile(returns, episodes, 0.1), returns - 2.7)
    np.testing.assert_allclose(above_quantile(returns, episodes & False, 0.1), returns)
    # groups of two: (0, 2), (1, 3), (50, 3), whose medians are as far from them as their deviation
    found = above_quantile(returns, episodes, 0.5, 2)
    np.testing.assert_allclose(found, [[-1, 1], [-1, 1], [1, -1]], rtol=2e-4)
