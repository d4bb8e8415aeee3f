"""Running statistics are those of all rows so far, however they were split into updates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
    np.testing.assert_allclose(stats.mean, rows.astype(float).mean(0), atol=1e-12 * scale)
    np.testing.assert_allclose(stats.var, rows.astype(float).var(0), atol=1e-12 * scale**2)
    assert stats.count == sum(chunks)


def test_many_small_chunks_lose_no_precision():
    rows = np.random.default_rng(0).normal(5, 0.5, (5000, 2))
    stats = RunningMeanStd(2)
    for chunk in rows.reshape(1000, 5, 2):
        stats.update(torch.from_numpy(chunk))
    np.testing.assert_allclose(stats.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.var, rows.var(0), rtol=1e-12)


def test_the_largest_observation_leaves_the_statistics_finite():
    """float32 variances overflow from 1.8e19 on; what is larger stops the run (test_rollout)."""
    stats = RunningMeanStd(1)
    stats.update(torch.tensor([[1.8e19]]))
    stats.update(torch.ones(99, 1))
    assert (stats.mean.item(), stats.var.item()) == pytest.approx((1.8e17, 3.2076e36), rel=1e-6)  # 1.8e19²·0.01·0.99
    assert stats(torch.tensor([[1.8e19]])).item() == pytest.approx(9.9499, rel=1e-4)  # √99


def test_statistics_that_were_loaded_are_those_that_normalise():
    stats, copy = RunningMeanStd(2), RunningMeanStd(2)
    stats.update(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    copy.load_state_dict(stats.state_dict())
    torch.testing.assert_close(copy(torch.tensor([[4.0, 5.0]])), torch.tensor([[2.0, 1.0]]))


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
