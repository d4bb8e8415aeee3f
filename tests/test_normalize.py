"""Running statistics are those of all rows seen; rewards are divided by the deviation of their discounted return."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo.loop.reward_scaling import RewardScaler
from ppo.policies.normalizer import RunningMeanStd

checked = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@checked
@given(seeds, st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any), st.floats(-20, 20), st.floats(0.1, 50))
def test_statistics_are_those_of_all_rows_seen_however_they_were_cut(seed, chunks, centre, spread):
    rows = np.random.default_rng(seed).normal(centre, spread, (sum(chunks), 3)).astype(np.float32)
    stats = RunningMeanStd(3)
    for chunk in np.split(rows, np.cumsum(chunks)[:-1]):
        stats.update(torch.from_numpy(chunk))
    scale = np.abs(rows).max()
    np.testing.assert_allclose(stats.mean, rows.astype(float).mean(0), atol=1e-5 * scale)
    np.testing.assert_allclose(stats.var, rows.astype(float).var(0), atol=1e-5 * scale**2)
    assert stats.count == sum(chunks)


def test_many_small_chunks_lose_no_precision():
    rows = np.random.default_rng(0).normal(5, 0.5, (5000, 2))
    stats = RunningMeanStd(2)
    for chunk in rows.reshape(1000, 5, 2):
        stats.update(torch.from_numpy(chunk))
    np.testing.assert_allclose(stats.mean, rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(stats.var, rows.var(0), rtol=1e-4)


def test_before_the_first_row_it_is_the_identity():
    x = torch.tensor([[-9.0, 0.0, 0.3, 9.5]])
    assert torch.equal(RunningMeanStd(4)(x), x)


def test_a_row_is_centred_and_divided_by_the_deviation():
    stats = RunningMeanStd(2)
    stats.update(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))  # means 2 and 20, deviations 1 and 10
    torch.testing.assert_close(stats(torch.tensor([[[4.0, 15.0]]])), torch.tensor([[[2.0, -0.5]]]))


def test_normalised_numbers_stay_within_ten():
    stats = RunningMeanStd(1)
    stats.update(torch.tensor([[-1.0], [1.0]]))
    assert stats(torch.tensor([[1e6], [-1e6], [9.0]])).flatten().tolist() == pytest.approx([10, -10, 9])


def test_a_constant_feature_becomes_zero():
    stats = RunningMeanStd(1)
    for _ in range(3):
        stats.update(torch.full((7, 1), 0.1))
    assert stats(torch.tensor([[0.1]])).item() == pytest.approx(0.0, abs=1e-3)


def test_statistics_are_frozen_in_forward_and_travel_in_the_state_dict():
    stats = RunningMeanStd(2).train()
    stats.update(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    before = {name: x.clone() for name, x in stats.state_dict().items()}
    stats(torch.full((5, 2), 100.0))
    assert set(before) == {"mean", "var", "count"}
    assert all(torch.equal(x, before[name]) for name, x in stats.state_dict().items())
    assert not list(stats.parameters())


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
