"""The quality of a reward model against comparisons whose answers are known."""

import numpy as np
import pytest

from ppo.supervised.quality import agreement, quality
from ppo.text.ratings import Ratings


def test_perfect_reversed_and_random_scores_have_known_figures():
    ratings = Ratings([""] * 30, [[float(n)] * 3 for n in range(30)], [])
    best = quality(np.arange(30.0), ratings, np.arange(30), np.arange(30))
    assert (best.accuracy, best.agreement, best.ceiling) == (1, 1, 1)
    assert (
        best.describe()[0][1] == "1.000 of comparisons by one rater each, of 435 pairs of held-out texts"
    )  # 30 · 29 / 2
    assert best.by_length == (1, 1, 1)
    assert best.calibration == pytest.approx(0, abs=0.06)  # σ(1) for neighbours, whose order is certain
    assert quality(-np.arange(30.0), ratings, np.arange(30), np.arange(30)).accuracy == 0
    rng = np.random.default_rng(1)
    noisy = Ratings([""] * 300, rng.choice([0.0, 1.0], size=(300, 20)).tolist(), [])
    chance = quality(rng.normal(size=300), noisy, np.arange(300), np.arange(300))
    assert chance.agreement == pytest.approx(0.5, abs=0.02)
    assert chance.accuracy == pytest.approx(0.5, abs=0.03)
    pairs = quality(np.array([1.0, 0, 0, 1]), Ratings([""] * 4, [], [(0, 1), (2, 3)]), np.arange(4), np.ones(4))
    assert (pairs.accuracy, pairs.pairs) == (0.5, 2)
    assert np.isnan(pairs.agreement)
    assert [name for name, _ in pairs.describe()] == ["accuracy", "by length", "calibration"]
    assert "nan" not in str(pairs.describe())
    assert [name for name, _ in best.describe()] == ["accuracy", "raters", "by length", "calibration"]
    ties = quality(np.zeros(4), Ratings([""] * 4, [[1.0]] * 4, []), np.arange(4), np.ones(4))
    assert ties.describe() == [("accuracy", "unknown: in no comparison of held-out texts is one preferred")]


def test_raters_agree_as_often_as_a_second_one_orders_two_texts_the_same_way():
    assert agreement(Ratings(["", "", ""], [[1, 1], [2, 2], [3, 3]], [])) == 1
    assert np.isnan(agreement(Ratings(["", ""], [[1], [2]], [])))  # nobody else rated them
    # The label is 1 or −1, half of the time a tie, which is dropped; the others are then 0 against 1: a tie is a half.
    assert agreement(Ratings(["", ""], [[0, 1], [0, 1]], [])) == pytest.approx(0, abs=0.01)


def test_accuracy_by_length_is_that_of_pairs_of_short_middle_and_long_texts():
    lengths = np.repeat([1, 5, 9], 20)
    truth = np.tile(np.arange(20.0), 3)
    ratings = Ratings([""] * 60, [[value] for value in truth], [])
    scores = np.where(lengths == 5, -truth, truth)
    assert quality(scores, ratings, np.arange(60), lengths).by_length == (1, 0, 1)


def test_calibration_is_the_gap_between_predicted_and_observed_probability():
    ratings = Ratings([""] * 4, [], [(0, 1), (2, 3)])
    # The first of each pair is preferred; the model says σ(0) = 0.5 and σ(log 3) = 0.75.
    figures = quality(np.array([0, 0, np.log(3), 0]), ratings, np.arange(4), np.ones(4))
    assert figures.calibration == pytest.approx(
        0.25 / 2
    )  # a half is right for the first pair, in one order or the other


def test_a_model_that_knows_the_probabilities_is_calibrated():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 2))
    better = (rng.random(20_000) < 1 / (1 + np.exp(scores[:, 1] - scores[:, 0]))).astype(int)
    chosen_first = np.take_along_axis(scores, np.stack([1 - better, better], 1), 1).ravel()
    pairs = [(n, n + 1) for n in range(0, 40_000, 2)]
    figures = quality(chosen_first, Ratings([""] * 40_000, [], pairs), np.arange(40_000), np.ones(40_000))
    assert figures.calibration < 0.01
    assert (
        quality(3 * chosen_first, Ratings([""] * 40_000, [], pairs), np.arange(40_000), np.ones(40_000)).calibration
        > 0.1
    )
