"""The quality of a reward model: how well it tells held-out comparisons, beside how well people do."""

import math
from dataclasses import dataclass

import numpy as np

from ppo.text.ratings import Ratings

COMPARISONS = 50_000  # of held-out texts, for the figures


@dataclass(frozen=True)
class Quality:
    """How well a reward model tells held-out comparisons, each by one rater of either text, ties left out."""

    accuracy: float
    agreement: float  # of another rater of either text with the first: what one person's word is worth
    ceiling: float  # of the mean of all the others with the first
    calibration: float  # mean distance of the predicted probability from what came true, in ten bins, ties a half
    by_length: tuple[float, ...]  # accuracy where both texts are among the short, the middle and the long third
    comparisons: int


def quality(scores: np.ndarray, given: Ratings, index: np.ndarray, lengths: np.ndarray) -> Quality:
    """Return how well scores (B,) of texts tell comparisons by raters, drawn at random.

    Args:
        scores: of held-out texts.
        given: what everybody said.
        index: of these texts.
        lengths: of these texts, in tokens.
    """
    first, second, (label, other, mean) = _compared(given, index)
    apart = scores[first] - scores[second]
    clear = label != 0
    right = np.where(apart == 0, 0.5, np.sign(apart) == label)
    thirds = np.searchsorted(np.quantile(lengths, [1 / 3, 2 / 3]), lengths)
    both = [clear & (thirds[first] == n) & (thirds[second] == n) for n in range(3)]
    return Quality(
        float(right[clear].mean()), _agreement(label, other), _agreement(label, mean),
        _calibration(1 / (1 + np.exp(-apart)), (label + 1) / 2),
        tuple(float(right[which].mean()) if which.any() else math.nan for which in both), int(clear.sum()),
    )  # fmt: skip


def agreement(given: Ratings) -> float:
    """Return how often another rater of either text makes a comparison alike; see `Quality`."""
    label, other, _ = _compared(given, np.arange(len(given.texts)))[2]
    return _agreement(label, other)


def _compared(given: Ratings, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places (C,) in `index` of first and second texts, and (3, C) what one rater says, another, and the others.

    1 means that the first is liked better, −1 the second, 0 neither, NaN that there is no such rater.
    """
    if not given.ratings:
        first, second = np.arange(0, len(index), 2), np.arange(1, len(index), 2)
        return first, second, np.array([[1.0], [math.nan], [math.nan]]).repeat(len(first), 1)
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(index), size=(2, COMPARISONS))
    first, second = first[first != second], second[first != second]
    told = [_three(given.ratings[index[a]], given.ratings[index[b]], rng) for a, b in zip(first, second, strict=True)]
    return first, second, np.sign(np.array(told)).T


def _three(a: list[float], b: list[float], rng: np.random.Generator) -> tuple[float, float, float]:
    """Return by how much one rater puts a above b, another one, and the mean of all but the first."""
    i, j = rng.permutation(len(a)), rng.permutation(len(b))
    more = len(a) > 1 and len(b) > 1
    rest = (sum(a) - a[i[0]]) / (len(a) - 1) - (sum(b) - b[j[0]]) / (len(b) - 1) if more else math.nan
    return a[i[0]] - b[j[0]], a[i[1]] - b[j[1]] if more else math.nan, rest


def _agreement(label: np.ndarray, other: np.ndarray) -> float:
    """Return how often another says what the label says, where that is no tie; a tie of the other is a half."""
    known = (label != 0) & ~np.isnan(other)
    return float(np.where(other == 0, 0.5, other == label)[known].mean()) if known.any() else math.nan


def _calibration(predicted: np.ndarray, came: np.ndarray) -> float:
    bins = np.minimum((predicted * 10).astype(int), 9)
    gaps = [abs((predicted - came)[bins == n].mean()) * (bins == n).mean() for n in range(10) if (bins == n).any()]
    return float(sum(gaps))
