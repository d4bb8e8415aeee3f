"""The quality of a reward model: how often it agrees with held-out human comparisons, and how often people do."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ppo.numbers import count
from ppo.text.ratings import Ratings

COMPARISONS = 50_000  # pairs of held-out texts
BINS = 10  # of the predicted probability, for the calibration


@dataclass(frozen=True)
class Quality:
    """Agreement of a reward model with held-out human comparisons (one rater for each text, ties dropped).

    Attributes:
        accuracy: share of the comparisons that the model predicts.
        agreement: the same of a second rater of each text: how reliable one person's ratings are.
        ceiling: the same of the mean of all raters but the first.
        calibration: mean |predicted − observed| probability in ten bins; a tie counts as a half.
        by_length: accuracy for pairs of short, of middle and of long texts (thirds of all texts).
        pairs: how many pairs of texts are compared; of rated texts, each one by many raters.
    """

    accuracy: float
    agreement: float
    ceiling: float
    calibration: float
    by_length: tuple[float, ...]
    pairs: int

    def describe(self) -> list[tuple[str, str]]:
        """Return (name, text) pairs about the figures that are known: without a second rater no agreement is."""
        if not self.pairs:
            return [("accuracy", "unknown: in no comparison of held-out texts is one preferred")]
        compared = f"comparisons by one rater each, of {count(self.pairs, 'pair')} of held-out texts"
        lines = [("accuracy", f"{self.accuracy:.3f} of {compared}")]
        if not math.isnan(self.agreement):
            others = f"the mean of all other raters in {self.ceiling:.3f}"
            lines.append(("raters", f"a second rater agrees in {self.agreement:.3f} of comparisons, {others}"))
        thirds = zip(self.by_length, ("short", "middle", "long"), strict=True)
        by_length = ", ".join(
            f"{accuracy:.3f} of {name} texts" for accuracy, name in thirds if not math.isnan(accuracy)
        )
        calibration = f"error {self.calibration:.3f} (mean |predicted − observed|, ten bins)"
        return [*lines, *([("by length", by_length)] if by_length else []), ("calibration", calibration)]


class Pairs(NamedTuple):
    """C pairs of texts and how people compare them: 1 if the first is better, −1 if the second is, 0 for a tie.

    Attributes:
        first, second: positions (C,) of the texts.
        label: (C,) by one rater of each text.
        other: (C,) by another rater of each text; NaN if there is none.
        rest: (C,) by the mean of all raters but the first; NaN if there are none.
    """

    first: np.ndarray
    second: np.ndarray
    label: np.ndarray
    other: np.ndarray
    rest: np.ndarray


def quality(scores: np.ndarray, ratings: Ratings, indices: np.ndarray, lengths: np.ndarray) -> Quality:
    """Return how well scores agree with comparisons by random raters.

    Args:
        scores: (B,) of the held-out texts.
        ratings: of all texts.
        indices: (B,) of the held-out texts.
        lengths: (B,) of the held-out texts, in tokens.
    """
    pairs = _draw_pairs(ratings, indices)
    difference = scores[pairs.first] - scores[pairs.second]
    clear = pairs.label != 0
    # (2, pairs): which texts are compared, in whatever order
    both = np.unique(np.sort([pairs.first[clear], pairs.second[clear]], axis=0), axis=1)
    correct = np.where(difference == 0, 0.5, np.sign(difference) == pairs.label)
    thirds = np.searchsorted(np.quantile(lengths, [1 / 3, 2 / 3]), lengths)
    in_third = [clear & (thirds[pairs.first] == n) & (thirds[pairs.second] == n) for n in range(3)]
    return Quality(
        _mean(correct[clear]), _agreement(pairs.label, pairs.other), _agreement(pairs.label, pairs.rest),
        _calibration(1 / (1 + np.exp(-difference)), (pairs.label + 1) / 2),
        tuple(_mean(correct[which]) for which in in_third), both.shape[1],
    )  # fmt: skip


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if len(x) else math.nan


def agreement(ratings: Ratings) -> float:
    """Return how often two raters order a pair of texts the same way; see `Quality`."""
    pairs = _draw_pairs(ratings, np.arange(len(ratings.texts)))
    return _agreement(pairs.label, pairs.other)


def _draw_pairs(ratings: Ratings, indices: np.ndarray) -> Pairs:
    """Return random pairs of the texts with these indices, or their preferences, which are consecutive pairs."""
    if not ratings.ratings:
        first, second = np.arange(0, len(indices), 2), np.arange(1, len(indices), 2)
        return Pairs(first, second, np.ones(len(first)), *np.full((2, len(first)), math.nan))
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(indices), size=(2, COMPARISONS))
    first, second = first[first != second], second[first != second]
    by_text = [ratings.ratings[n] for n in indices]
    differences = [_differences(by_text[a], by_text[b], rng) for a, b in zip(first, second, strict=True)]
    return Pairs(first, second, *np.sign(np.array(differences)).T)


def _differences(a: list[float], b: list[float], rng: np.random.Generator) -> tuple[float, float, float]:
    """Return rating of a − rating of b by a random rater of each, by another one, and by the mean of all but the first."""
    i, j = rng.permutation(len(a)), rng.permutation(len(b))
    label = a[i[0]] - b[j[0]]
    if len(a) == 1 or len(b) == 1:
        return label, math.nan, math.nan
    rest = (sum(a) - a[i[0]]) / (len(a) - 1) - (sum(b) - b[j[0]]) / (len(b) - 1)
    return label, a[i[1]] - b[j[1]], rest


def _agreement(label: np.ndarray, other: np.ndarray) -> float:
    """Return how often `other` equals `label`, ties of `label` dropped; a tie of `other` counts as a half."""
    known = (label != 0) & ~np.isnan(other)
    return _mean(np.where(other == 0, 0.5, other == label)[known])


def _calibration(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Return the mean |predicted − observed| over bins; each pair counts in both orders, since data may name the better one first."""
    predicted, observed = np.concatenate([predicted, 1 - predicted]), np.concatenate([observed, 1 - observed])
    bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
    members = [bins == n for n in range(BINS) if (bins == n).any()]
    return float(sum(abs((predicted - observed)[which].mean()) * which.mean() for which in members))
