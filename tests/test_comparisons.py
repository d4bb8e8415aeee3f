"""Comparisons: probabilities of preference, and a tenth of the texts held out that nothing connects with the others."""

import numpy as np
import pytest
import torch

from ppo.errors import UsageError
from ppo.supervised.comparisons import Comparisons, repeats, split
from ppo.text.ratings import Ratings


def test_a_text_is_preferred_as_often_as_its_ratings_exceed_those_of_the_other():
    ratings = Ratings(["a", "b", "c"], [[1, 2], [2, 3], [-1.5, -1.5]], [])
    probs = Comparisons(ratings, "all")(np.array([1, 0, 2]))
    # b against a: 2 > 1, 2 = 2, 3 > 1, 3 > 2
    expected = [[float("nan"), 0.875, 1], [0.125, float("nan"), 1], [0, 0, float("nan")]]
    torch.testing.assert_close(probs, torch.tensor(expected), equal_nan=True)
    assert Comparisons(ratings, "even")(np.array([0, 1]))[0, 1] == 0  # 1 against 2
    with pytest.raises(UsageError, match="raters = 'odd' leaves a text without a rating"):
        Comparisons(Ratings(["a"], [[1]], []), "odd")
    with pytest.raises(UsageError, match="all ratings are 1, so that no text is preferred to another; give different"):
        Comparisons(Ratings(["a", "b"], [[1, 1], [1]], []), "all")


def test_in_a_pair_the_first_is_preferred_and_other_pairs_are_not_compared():
    probs = Comparisons(Ratings([*"abcd"], [], [(0, 1), (2, 3)]), "all")(np.array([2, 3, 0, 1]))
    assert probs.nan_to_num(-1).tolist() == [[-1, 1, -1, -1], [-1] * 4, [-1, -1, -1, 1], [-1] * 4]


def rated(texts):
    return Ratings(list(texts), [[1.0]] * len(texts), [])


def pairs_of(*pairs):
    """Return preferences of the first text of each pair."""
    return Ratings([text for pair in pairs for text in pair], [], [(2 * n, 2 * n + 1) for n in range(len(pairs))])


def sides(ratings):
    """Return the texts on each side of the split."""
    return [{ratings.texts[n] for item in side for n in item} for side in split(ratings, "f")]


def test_every_tenth_item_is_held_out_if_all_texts_differ():
    training, held_out = split(rated([str(n) for n in range(25)]), "f")
    assert np.concatenate(held_out).tolist() == [0, 10, 20]
    assert sorted(np.concatenate(training + held_out).tolist()) == list(range(25))
    pairs = [(f"a{n}", f"b{n}") for n in range(12)]
    assert [item.tolist() for item in split(pairs_of(*pairs), "f")[1]] == [[0, 1], [20, 21]]


def test_texts_that_are_equal_or_were_compared_directly_or_through_others_stay_together():
    chains = [(f"{n}{a}", f"{n}{b}") for n in range(30) for a, b in ("ab", "cd", "bc")]
    order = np.random.default_rng(0).permutation(90)
    ratings = pairs_of(*(chains[n] for n in order))
    training, held_out = sides(ratings)
    assert 8 <= len(held_out) <= 16  # of 120
    assert {text[:-1] for text in training}.isdisjoint(text[:-1] for text in held_out)
    repeated = rated([f"{n % 40}" for n in np.random.default_rng(1).permutation(400)])
    training, held_out = sides(repeated)
    assert training.isdisjoint(held_out)
    assert 2 <= len(held_out) <= 8


def test_a_prompt_is_on_one_side_only():
    ratings = pairs_of(*((f"a{n}", f"b{n}") for n in range(60)))
    ratings.prompts.update({n: f"prompt {n // 2 % 20}" for n in range(120)})
    training, held_out = ({ratings.prompts[n] for item in side for n in item} for side in split(ratings, "f"))
    assert len(training) == 18
    assert len(held_out) == 2
    assert training.isdisjoint(held_out)
    ratings.prompts.update(dict.fromkeys(range(120), "the same"))
    with pytest.raises(UsageError, match="or have the same prompt stay together"):
        split(ratings, "f")


def test_a_large_group_of_connected_texts_is_trained_on_and_small_ones_are_held_out():
    ratings = pairs_of(*((f"{n}", f"{n + 1}") for n in range(90)), *((f"a{n}", f"b{n}") for n in range(20)))
    assert {text[0] for text in sides(ratings)[1]} == {"a", "b"}


def test_an_item_repeats_another_if_it_has_the_same_texts_in_either_order():
    assert repeats(pairs_of(("a", "b"), ("b", "a"), ("a", "c"), ("a", "b"))) == 2
    assert repeats(rated(["a", "b", "a"])) == 1
    prompted = pairs_of(("a", "b"), ("b", "a"), ("a", "b"))
    prompted.prompts.update({0: "x", 1: "x", 2: "x", 3: "x", 4: "y", 5: "y"})
    assert repeats(prompted) == 1


@pytest.mark.parametrize(
    ("ratings", "sentence"),
    [
        (rated("abc"), "f has 3 lines; give at least 10"),
        (rated("ab" * 10), "f leaves fewer than two texts to hold out"),
        (pairs_of(*((f"{n}", f"{n + 1}") for n in range(90))), "f leaves fewer than two texts to hold out"),
        (rated("abcdefghij"), "f leaves fewer than two texts to hold out"),  # one text is not a comparison
    ],
)
def test_texts_that_cannot_be_split_are_one_sentence(ratings, sentence):
    with pytest.raises(UsageError, match=sentence):
        split(ratings, "f")
