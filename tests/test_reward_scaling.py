"""Rewards are divided by the deviation of their discounted return."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo.loop.reward_scaling import RewardScaler

checked = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@checked
@given(seeds, st.floats(0, 1), st.integers(1, 3), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_rewards_are_divided_by_the_deviation_of_the_returns_of_each_environment(seed, gamma, envs, lengths):
    rng = np.random.default_rng(seed)
    scaler, running, seen = RewardScaler(gamma, envs), [0.0] * envs, []
    for steps in lengths:  # one rollout after another: returns run on, statistics grow
        rewards = rng.normal(1, 2, (steps, envs)).astype(np.float32)
        starts, valid = rng.random((2, steps, envs)) < [[[0.3]], [[0.8]]]
        valid[0] = True
        for n in range(envs):
            for t in range(steps):
                running[n] = float(rewards[t, n]) + (0.0 if starts[t, n] else gamma * running[n])
                if valid[t, n]:
                    seen.append(running[n])
        expected = (rewards / np.sqrt(np.var(seen) + 1e-8)).clip(-10, 10)
        np.testing.assert_allclose(scaler.scale(rewards, starts, valid), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("starts_again", "deviation"), [(False, 0.0), (True, 0.5)])
def test_the_return_restarts_with_the_episode(starts_again, deviation):
    # γ = 0.5 and rewards 2, 1: returns 2, 2 within an episode (deviation 0) and 2, 1 across a start (deviation 0.5).
    rewards, valid = np.array([[2.0], [1.0]]), np.ones((2, 1), bool)
    scaler = RewardScaler(0.5, 1)
    scaler.scale(rewards, np.array([[True], [starts_again]]), valid)
    assert scaler.stats.var.item() ** 0.5 == pytest.approx(deviation)


def test_scaled_rewards_stay_within_ten_and_keep_their_sign():
    rewards = np.array([[1000.0], *[[1.0], [-1.0]] * 500])
    always = np.ones((1001, 1), bool)
    scaled = RewardScaler(0.0, 1).scale(rewards, always, always)  # deviation close to 31.6
    assert scaled[0, 0] == 10.0
    assert scaled[2, 0] == pytest.approx(-1 / 31.6, rel=0.01)
