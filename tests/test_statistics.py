"""The statistics are those of the field: expected values are rliable 1.2.0's (arch 7.2.0) on the same numbers."""

import math

import numpy as np
import pytest
from scipy import stats

from ppo.compare import statistics

A = np.array([[3.1, 12.0], [4.7, 9.5], [1.2, 14.2], [6.6, 11.1], [5.9, 13.3]])  # (runs, environments)
B = np.array([[2.0, 10.0], [5.1, 9.9], [0.4, 12.5], [3.3, 11.1], [4.0, 8.8]])


def test_the_interquartile_mean_is_that_of_rliable():
    assert statistics.iqm(A) == pytest.approx(8.3)
    assert statistics.iqm(B) == pytest.approx(6.85)
    assert statistics.iqm(A[:, 0]) == pytest.approx(4.566667)


def test_the_stratified_interval_is_that_of_rliable():
    assert statistics.interval([A[:, 0], A[:, 1]]) == pytest.approx((7.0333, 9.4167), abs=0.05)
    assert statistics.interval([A[:, 0], A[:, 1]], "mean") == pytest.approx((7.03, 9.26), abs=0.05)
    assert statistics.interval([A[:, 0]]) == pytest.approx((1.8333, 6.3667), abs=0.05)


def test_strata_are_resampled_apart():
    far = [np.array([0.0, 1.0, 2.0, 3.0]), np.array([1000.0, 1001.0, 1002.0, 1003.0])]
    low, high = statistics.interval(far, "mean")
    assert 500 < low < high < 503  # pooled, the environments' shares would vary and the interval would be hundreds wide


def test_the_probability_of_improvement_is_that_of_rliable():
    assert [statistics.probability_of_improvement(A[:, n], B[:, n]) for n in (0, 1)] == pytest.approx([0.68, 0.74])


def test_the_performance_profile_is_that_of_rliable():
    assert statistics.performance_profile(A.ravel(), np.array([0.0, 4.0, 8.0, 12.0, 16.0])) == pytest.approx(
        [1.0, 0.8, 0.5, 0.2, 0.0]
    )


def test_one_run_has_no_interval():
    assert all(math.isnan(x) for x in statistics.interval([np.array([3.0])]))
    found = statistics.difference(np.array([3.0]), 1.0, 0.5, 10)
    assert found[0] == 2.0
    assert math.isnan(found[1])
    assert math.isnan(found[2])


def test_the_difference_is_welchs():
    ours, theirs = np.array([4.0, 6.0, 8.0]), np.array([2.0, 3.5, 3.0, 1.5, 5.0])
    welch = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    found = statistics.difference(ours, theirs.mean(), theirs.std(ddof=0), 5)
    assert found == pytest.approx((3.0, welch.low, welch.high))


def test_the_published_deviation_is_read_with_its_denominator():
    ours, theirs = np.array([1.0, 3.0, 5.0]), np.array([2.0, 4.0, 9.0])
    both = [statistics.difference(ours, 5.0, theirs.std(ddof=ddof), 3, ddof) for ddof in (0, 1)]
    assert both[0] == pytest.approx(both[1])


def test_the_difference_from_a_point_is_students():
    found = statistics.difference(np.array([4.0, 6.0, 8.0]), 3.0, math.nan, 0)
    assert found == pytest.approx((3.0, 3 - 4.968, 3 + 4.968), abs=1e-3)  # 4.303 · 2 / √3


def test_nothing_that_varies_is_no_proof():
    found = statistics.difference(np.array([500.0, 500.0]), 496.0, math.nan, 0)
    assert found[0] == 4.0
    assert math.isnan(found[1])


def test_a_bootstrap_needs_five_runs():
    assert math.isnan(statistics.interval([A[:4, 0]])[0])
    assert not math.isnan(statistics.interval([A[:3, 0], A[:3, 1]])[0])
    low, high = statistics.band(A[:4], "mean")
    assert (low.tolist(), high.tolist()) == ([1.2, 9.5], [6.6, 14.2])  # the range


def test_steps_to_a_level_and_the_area_under_a_curve():
    steps, returns = np.array([0.0, 100.0, 200.0, 400.0]), np.array([0.0, 10.0, 20.0, 20.0])
    assert statistics.steps_to(steps, returns, 15.0) == 200.0
    assert math.isnan(statistics.steps_to(steps, returns, 21.0))
    assert statistics.area(steps, returns) == pytest.approx((500 + 1500 + 4000) / 400)


def test_the_band_holds_the_middle_at_each_point():
    returns = np.random.default_rng(0).normal(size=(8, 5)) + np.arange(5)
    low, high = statistics.band(returns, "mean")
    assert (low < returns.mean(0)).all()
    assert (returns.mean(0) < high).all()
    assert low.shape == (5,)
