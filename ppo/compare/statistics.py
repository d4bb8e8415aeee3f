"""Statistics of a handful of runs, honestly: interquartile means, intervals, profiles (Agarwal et al. 2021, 2108.13264).

The numerics are scipy's. An interval needs two runs: of one run there is none, and none is invented.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 10_000
ENOUGH = 5  # runs for a percentile bootstrap: of three normal numbers it holds the mean in 66 cases of 100, not in 95
LEVEL = 0.95


def iqm(scores: Sequence[float] | np.ndarray, axis: int | None = None) -> float:
    """Return the interquartile mean: the mean of the middle half of all scores."""
    return stats.trim_mean(scores, 0.25, axis=axis)


def interval(samples: Sequence[np.ndarray], statistic: str = "iqm") -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the IQM or mean over all samples, resampled within each.

    Args:
        samples: scores (n,) of the runs of each environment: the strata.
        statistic: "iqm" or "mean".

    Returns:
        (low, high); NaN where there are fewer than ENOUGH runs in all, or one run only of an environment.
    """
    if min(len(sample) for sample in samples) < 2 or sum(len(sample) for sample in samples) < ENOUGH:
        return float("nan"), float("nan")

    def pooled(*parts: np.ndarray, axis: int = -1) -> np.ndarray:
        together = np.concatenate(parts, axis=axis)
        return np.asarray(iqm(together, axis) if statistic == "iqm" else together.mean(axis))

    found = stats.bootstrap(
        tuple(samples), pooled, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
        vectorized=True, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def performance_profile(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the share of scores (n,) above each level (K,): higher is better everywhere where one curve is above."""
    return (np.asarray(scores)[:, None] > levels).mean(0)


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return P(a run of ours is better than one of theirs), ties half: Mann and Whitney's U over all pairs."""
    return float(stats.mannwhitneyu(ours, theirs).statistic) / (len(ours) * len(theirs))


def difference(ours: np.ndarray, mean: float, std: float, seeds: int) -> tuple[float, float, float]:
    """Return our mean minus a published one, and its 95 % interval: NaN for one run, and where nothing has a spread.

    Where the published figure has a spread over seeds the interval is Welch's (1947), else it is that of our mean
    alone (Student), the published figure being taken as a point. Deviations published by the field mostly divide by n;
    they are taken so, which widens the interval.

    Args:
        ours: scores (n,).
        mean: published.
        std: published, across seeds; NaN where there is none.
        seeds: of the published figure.
    """
    n, own = len(ours), float(np.mean(ours))
    a = float(np.var(ours, ddof=1)) / n if n > 1 else 0.0
    b = std**2 / (seeds - 1) if seeds > 1 and np.isfinite(std) else 0.0  # (std² · s / (s − 1)) / s
    error = (a + b) ** 0.5
    if n < 2 or error == 0.0:
        return own - mean, float("nan"), float("nan")
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + (b**2 / (seeds - 1) if b else 0.0))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return own - mean, own - mean - reach, own - mean + reach


def steps_to(steps: np.ndarray, returns: np.ndarray, level: float) -> float:
    """Return the first step at which a curve reaches a level, NaN if it never does."""
    reached = np.flatnonzero(returns >= level)
    return float(steps[reached[0]]) if len(reached) else float("nan")


def area(steps: np.ndarray, returns: np.ndarray) -> float:
    """Return the mean height of a curve over its steps: the area under it by its width."""
    if steps[-1] == steps[0]:
        return float(returns[0])
    return float(np.trapezoid(returns, steps) / (steps[-1] - steps[0]))


def band(returns: np.ndarray, centre: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % bootstrap interval, low and high (K,), of the runs' returns (n, K) at each point.

    Of fewer than ENOUGH runs it is their range.
    """
    if len(returns) < ENOUGH:
        return returns.min(0), returns.max(0)

    def middle(x: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(iqm(x, axis) if centre == "iqm" else x.mean(axis))

    found = stats.bootstrap(
        (returns,), middle, n_resamples=2000, confidence_level=LEVEL, method="percentile", axis=0, vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return found.low, found.high
