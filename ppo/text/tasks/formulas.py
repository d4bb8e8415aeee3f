"""Formulas: write an expression in prefix notation that fits given points, as in deep symbolic regression.

The Nguyen benchmark and the rules of Petersen et al. (2021, arXiv 1912.04871), without constants.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from gymnasium.spaces import MultiDiscrete

from ppo.errors import UsageError
from ppo.text.completion import Completion
from ppo.text.task import Task
from ppo.text.tasks.points import OPERATORS, Points, arity, draw, read
from ppo.text.vocabulary import Vocabulary

TRIGONOMETRIC, INVERSE = ("sin", "cos"), {"exp": "log", "log": "exp"}
SHORTEST, LONGEST = 4, 30  # tokens of an expression
EXACT = 1e-9  # an expression with a smaller error on points that it was not rewarded on is the formula itself


@dataclass(frozen=True)
class Place:
    """A place in an expression's tree for which a token is still missing.

    Attributes:
        parent: the operator above it; "" at the root.
        sibling: the token at the left of it; "" if it is the first operand.
        inside: whether it lies in a trigonometric function.
        left: whether it has a place at its right.
    """

    parent: str = ""
    sibling: str = ""
    inside: bool = False
    left: bool = False


ROOT = (Place(),)


def fill(places: tuple[Place, ...], token: str) -> tuple[Place, ...]:
    """Return the places for which tokens are missing, the next one first, once `token` is in the first of `places`."""
    place, *rest = places
    if place.left:  # the place at its right comes next once this one is filled
        rest[0] = Place(rest[0].parent, token, rest[0].inside)
    inside = place.inside or token in TRIGONOMETRIC
    number = arity(token)
    return *(Place(token, "", inside, n + 1 < number) for n in range(number)), *rest


class Search:
    """The functions of the task: rewards of expressions, and the rules by which they are written.

    Args:
        training: points that the reward is about.
        test: points that decide whether an expression is the formula.
    """

    constant = True  # nothing is remembered: the state is there to be checked

    def __init__(self, training: Points, test: Points) -> None:
        self.training, self.test = training, test
        self.words = [*OPERATORS, *training.columns]
        self.vocabulary = Vocabulary(self.words, " ")
        self.arities = np.array([arity(word) for word in self.words])
        self.trigonometric = np.isin(self.words, TRIGONOMETRIC)
        self.places, self.error = lru_cache(2**14)(self._places), lru_cache(2**16)(self._error)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the points, by which a resumed run knows them, (P, variables + 1)."""
        return {"points": torch.from_numpy(np.column_stack([*self.training.columns.values(), self.training.values]))}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Check that the run's points are these.

        Raises:
            UsageError: they are others, whose rewards would be mixed with those of the run.
        """
        if not torch.equal(state["points"], self.state_dict()["points"]):
            raise UsageError("the points are not those that the run began with; restore its file, or train a new run")

    def reward(self, completions: list[Completion]) -> list[float]:
        """Return 1 / (1 + error) of each expression, 0 where it has no finite value."""
        values = [self.error(c.response_ids) for c in completions]
        return [1 / (1 + value) if np.isfinite(value) else 0.0 for value in values]

    def solved(self, completions: list[Completion]) -> list[bool]:
        """Return which expressions have no error, on the other points either."""
        exact = [self.error(c.response_ids) < EXACT for c in completions]
        return [
            fits and self.test.error([self.words[n] for n in c.response_ids]) < EXACT
            for fits, c in zip(exact, completions, strict=True)
        ]

    def features(self, completions: list[Completion]) -> np.ndarray:
        """Return parent and sibling (B, 2) of the next token; the number of words stands for none."""
        rows = np.full((len(completions), 2), len(self.words))
        for row, completion in zip(rows, completions, strict=True):
            for place in self.places(completion.response_ids)[:1]:
                row[:] = [self.vocabulary.ids.get(token, len(self.words)) for token in (place.parent, place.sibling)]
        return rows

    def mask(self, completions: list[Completion]) -> np.ndarray:
        """Return which tokens may follow, (B, V) bool."""
        allowed = np.zeros((len(completions), len(self.vocabulary)), bool)
        for row, completion in zip(allowed, completions, strict=True):
            ids = completion.response_ids
            left = self.places(ids)
            if not left:
                row[self.vocabulary.end] = True
                continue
            room = LONGEST - len(ids) - len(left)  # operands beyond the places that are left
            own = row[: len(self.words)]
            own[:] = self.arities <= room
            if len(left) == 1 and len(ids) + 1 < SHORTEST:
                own &= self.arities > 0
            if left[0].inside:
                own &= ~self.trigonometric
            if left[0].parent in INVERSE:
                own[self.vocabulary.ids[INVERSE[left[0].parent]]] = False
        return allowed

    def _places(self, ids: tuple[int, ...]) -> tuple[Place, ...]:
        return fill(self.places(ids[:-1]), self.words[ids[-1]]) if ids else ROOT

    def _error(self, ids: tuple[int, ...]) -> float:
        return self.training.error([self.words[n] for n in ids])


def formulas(nguyen: int | None = None, data: str = "") -> Task:
    """Write a formula of x (and y) that fits 20 points: `+ x * x x` is x + x².

    The reward is 1 / (1 + e), where e is the root mean square error in deviations of the values. An expression has 4 to 30
    tokens, no trigonometric function inside another one, and no exp of a log or log of an exp. The policy sees the operator
    above the next token and the token at its left.

    Args:
        nguyen: a formula of the Nguyen benchmark, 1 to 12; without points of your own, 1.
        data: your own points instead: a CSV file with a line of names; the last column is what the formula should give.

    Raises:
        UsageError: there is no such formula, or the file cannot be read.
    """
    if data and nguyen is not None:
        raise UsageError(f"nguyen = {nguyen!r} and data = {data!r} are both points to fit; leave out one of them")
    search = Search(*(read(data) if data else draw(1 if nguyen is None else nguyen)))
    space = MultiDiscrete([len(search.words) + 1] * 2)
    return Task(
        search.vocabulary, search.reward, max_tokens=LONGEST + 1, mask=search.mask, features=(space, search.features),
        metrics={
            "solved": search.solved,
            "defined": lambda cs: [bool(np.isfinite(search.error(c.response_ids))) for c in cs],
            "length": lambda cs: [len(c.response_ids) for c in cs],
        },
    )  # fmt: skip
