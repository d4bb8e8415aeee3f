"""Statistics of a few runs: interquartile means, intervals, profiles (Agarwal et al. 2021, arXiv 2108.13264).

The numerics are scipy's. A single run has no interval.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 10_000
ENOUGH = 5  # runs for a percentile bootstrap: with three normal samples it covers the mean 66 times in 100, not 95
LEVEL = 0.95


def iqm(scores: Sequence[float] | np.ndarray, axis: int | None = None) -> float:
    """Return the interquartile mean: the mean of the middle half of all scores."""
    return stats.trim_mean(scores, 0.25, axis=axis)


def interval(samples: Sequence[np.ndarray], statistic: str = "iqm") -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the IQM or mean over all samples, resampled within each sample.

    Args:
        samples: for each environment (stratum), the scores (n,) of its runs.
        statistic: "iqm" or "mean".

    Returns:
        (low, high); NaN if there are fewer than ENOUGH runs in total, or only one run of an environment.
    """
    if min(len(sample) for sample in samples) < 2 or sum(len(sample) for sample in samples) < ENOUGH:
        return float("nan"), float("nan")

    def pooled(*parts: np.ndarray, axis: int = -1) -> np.ndarray:
        scores = np.concatenate(parts, axis=axis)
        return np.asarray(iqm(scores, axis) if statistic == "iqm" else scores.mean(axis))

    bounds = stats.bootstrap(
        tuple(samples), pooled, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
        vectorized=True, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(bounds.low), float(bounds.high)


def performance_profile(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the share of scores (n,) above each level (K,)."""
    return (np.asarray(scores)[:, None] > levels).mean(0)


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return P(a run of ours is better than one of theirs), a tie counting half: Mann and Whitney's U / (n · m)."""
    return float(stats.mannwhitneyu(ours, theirs).statistic) / (len(ours) * len(theirs))


def difference(ours: np.ndarray, mean: float, std: float, seeds: int, ddof: int = 0) -> tuple[float, float, float]:
    """Return our mean minus a published mean, and the ends of its 95 % interval.

    If the published figure has a standard deviation over seeds, the interval is Welch's (1947). Otherwise it is
    Student's interval of our mean, and the published mean counts as exact.

    Args:
        ours: scores (n,).
        mean: the published mean.
        std: the published standard deviation over seeds; NaN if there is none.
        seeds: the number of published runs, n.
        ddof: the published standard deviation divides by n − ddof. Most divide by n.

    Returns:
        (difference, low, high); low and high are NaN for one run of ours, and if neither side has a spread.
    """
    n, own = len(ours), float(np.mean(ours))
    a = float(np.var(ours, ddof=1)) / n if n > 1 else 0.0
    b = (
        std**2 / (seeds - 1 + ddof) if seeds > 1 and np.isfinite(std) else 0.0
    )  # (std² · (s − ddof) / (s − 1)) / s for ddof 0 and 1
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
    """Return the mean of a curve over its steps: the area under it, divided by its width."""
    if steps[-1] == steps[0]:
        return float(returns[0])
    return float(np.trapezoid(returns, steps) / (steps[-1] - steps[0]))


def band(returns: np.ndarray, centre: str) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high (K,), the 95 % bootstrap interval of returns (n, K) at each point.

    With fewer than ENOUGH runs they are the range of the runs.

    Args:
        returns: (n, K), one row per run.
        centre: "iqm" or "mean".
    """
    if len(returns) < ENOUGH:
        return returns.min(0), returns.max(0)

    def middle(x: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(iqm(x, axis) if centre == "iqm" else x.mean(axis))

    bounds = stats.bootstrap(
        (returns,), middle, n_resamples=2000, confidence_level=LEVEL, method="percentile", axis=0, vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return bounds.low, bounds.high
