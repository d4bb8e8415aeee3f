"""Comparisons: how often people prefer each text to each other one, and which texts are held out."""

import numpy as np
import torch
from torch import Tensor

from ppo.errors import UsageError
from ppo.numbers import count
from ppo.text.corpus import HELD_OUT
from ppo.text.ratings import Ratings

RATERS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
LARGEST_SHARE = 5  # a group of connected texts is held out only if this leaves at most a fifth of the items held out


class Comparisons:
    """The probability that each text is preferred to each other text.

    Args:
        ratings: the texts and their ratings or preferences.
        raters: which raters count: all, or those at even or odd positions in each text's list.

    Raises:
        UsageError: a text has no rating by these raters, or all ratings are the same.
    """

    def __init__(self, ratings: Ratings, raters: str) -> None:
        by_text = [np.array(numbers[RATERS[raters]]) for numbers in ratings.ratings]
        if not all(map(len, by_text)):
            raise UsageError(f"raters = {raters!r} leaves a text without a rating; choose all")
        levels = np.unique(np.concatenate([*by_text, []]))
        if len(levels) == 1:
            raise UsageError(
                f"all ratings are {levels[0]:g}, so that no text is preferred to another; give different ones"
            )
        # Shares (M, K) of a text's ratings on each level: P(a > b) + P(a = b) / 2 is then a product.
        self.shares = np.array([[(numbers == level).mean() for level in levels] for numbers in by_text])
        self.above = (1 + np.sign(levels[:, None] - levels)) / 2  # (K, K)
        self.rated = bool(by_text)

    def __call__(self, indices: np.ndarray) -> Tensor:
        """Return P(a is preferred to b), (B, B), of texts; NaN if they were not compared."""
        probs = np.full((len(indices), len(indices)), np.nan)
        if self.rated:
            shares = self.shares[indices]
            probs = np.where(np.eye(len(indices)), np.nan, shares @ self.above @ shares.T)
        else:  # consecutive pairs, the preferred text first
            first = np.arange(0, len(indices), 2)
            probs[first, first + 1] = 1
        return torch.from_numpy(probs).float()


def items_of(ratings: Ratings) -> list[tuple[int, ...]]:
    """Return the indices of the texts of each item: of a rated text, or of the two texts of a preference."""
    return list(ratings.pairs) if ratings.pairs else [(n,) for n in range(len(ratings.texts))]


def repeats(ratings: Ratings) -> int:
    """Return how many items have the same text, or the same prompt and the same two texts, as an earlier item."""
    items = items_of(ratings)
    return len(items) - len({frozenset(_contents(ratings, item)) for item in items})


def _contents(ratings: Ratings, item: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return the texts of an item and its prompt, if it has one, each with its kind."""
    prompt = ratings.prompts.get(item[0], "")
    return [*(("text", ratings.texts[n]) for n in item), *([("prompt", prompt)] if prompt else [])]


def connected(ratings: Ratings) -> list[list[tuple[int, ...]]]:
    """Return the items in groups, ordered by their first items: two items that share a text or a prompt are in one group."""
    above: dict[tuple[str, str], tuple[str, str]] = {}  # the parent in the group's tree, whose root is its own parent

    def root(content: tuple[str, str]) -> tuple[str, str]:
        while (parent := above.setdefault(content, content)) != content:
            above[content], content = above[parent], parent
        return content

    items = items_of(ratings)
    for item in items:
        first, *others = _contents(ratings, item)
        for other in others:
            above[root(other)] = root(first)
    groups: dict[tuple[str, str], list[tuple[int, ...]]] = {}
    for item in items:
        groups.setdefault(root(("text", ratings.texts[item[0]])), []).append(item)
    return list(groups.values())


def split(ratings: Ratings, where: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the items for training and about a tenth to hold out, each as the indices of its texts.

    No text and no prompt is on both sides, nor is a text that was compared with a text of the other side: connected items stay
    together.

    Raises:
        UsageError: there are too few items, or too many of them are connected; `where` names their file.
    """
    items = len(items_of(ratings))
    if items < HELD_OUT:
        raise UsageError(f"{where} has {count(items, 'line')}; give at least {HELD_OUT}, since a tenth is held out")
    training: list[tuple[int, ...]] = []
    held_out: list[tuple[int, ...]] = []
    for group in connected(ratings):
        due = HELD_OUT * len(held_out) <= len(training) + len(held_out)
        fits = LARGEST_SHARE * (len(held_out) + len(group)) <= items
        (held_out if due and fits else training).extend(group)
    if len({ratings.texts[n] for item in held_out for n in item}) < 2:
        raise UsageError(
            f"{where} leaves fewer than two texts to hold out: a tenth of the lines is held out, and texts that are equal, were "
            "compared or have the same prompt stay together; add lines with other texts and prompts"
        )
    return [np.array(item) for item in training], [np.array(item) for item in held_out]
