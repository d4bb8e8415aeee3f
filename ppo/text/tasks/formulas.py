"""Formulas: write an expression in prefix notation that fits given points, as in deep symbolic regression.

The Nguyen benchmark and the rules of Petersen et al. (2021, arXiv 1912.04871), without constants.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from gymnasium.spaces import MultiDiscrete

from ppo.errors import UsageError, one_line
from ppo.text.task import Completion, Task
from ppo.text.vocabulary import Vocabulary

OPERATORS: dict[str, np.ufunc] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log,
}  # fmt: skip
TRIGONOMETRIC, INVERSE = ("sin", "cos"), {"exp": "log", "log": "exp"}
SHORTEST, LONGEST = 4, 30  # tokens of an expression
EXACT = 1e-9  # an expression with a smaller error on points that it was not rewarded on is the formula itself
NUM_POINTS, NUM_TEST_POINTS, SEED = 20, 1000, 0

# Table 4 of Petersen et al.: the formula, how many variables it has, and the range of each.
NGUYEN: dict[int, tuple[Callable[..., np.ndarray], int, tuple[float, float]]] = {
    1: (lambda x: x**3 + x**2 + x, 1, (-1, 1)),
    2: (lambda x: x**4 + x**3 + x**2 + x, 1, (-1, 1)),
    3: (lambda x: x**5 + x**4 + x**3 + x**2 + x, 1, (-1, 1)),
    4: (lambda x: x**6 + x**5 + x**4 + x**3 + x**2 + x, 1, (-1, 1)),
    5: (lambda x: np.sin(x**2) * np.cos(x) - 1, 1, (-1, 1)),
    6: (lambda x: np.sin(x) + np.sin(x + x**2), 1, (-1, 1)),
    7: (lambda x: np.log(x + 1) + np.log(x**2 + 1), 1, (0, 2)),
    8: (lambda x: np.sqrt(x), 1, (0, 4)),
    9: (lambda x, y: np.sin(x) + np.sin(y**2), 2, (0, 1)),
    10: (lambda x, y: 2 * np.sin(x) * np.cos(y), 2, (0, 1)),
    11: (lambda x, y: x**y, 2, (0, 1)),
    12: (lambda x, y: x**4 - x**3 + y**2 / 2 - y, 2, (0, 1)),
}


@dataclass(frozen=True)
class Points:
    """Points that a formula should fit: the columns of its variables by name, and its values, each (P,)."""

    columns: dict[str, np.ndarray]
    values: np.ndarray

    def error(self, expression: list[str]) -> float:
        """Return the root mean square error of an expression in deviations of the values; infinite or NaN if it has no value."""
        with np.errstate(all="ignore"):
            residuals = evaluate(expression, self.columns) - self.values
            return float(np.sqrt(np.mean(residuals**2)) / self.values.std())


def evaluate(expression: list[str], columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the values (P,) of an expression in prefix notation; NaN if it is not complete."""
    operands: list[np.ndarray] = []
    for token in reversed(expression):
        if token not in OPERATORS:
            operands.append(columns[token])
        elif len(operands) < arity(token):
            return np.full(len(next(iter(columns.values()))), np.nan)
        else:
            operands.append(OPERATORS[token](*(operands.pop() for _ in range(arity(token)))))
    return operands[0] if len(operands) == 1 else np.full(len(next(iter(columns.values()))), np.nan)


def arity(token: str) -> int:
    """Return how many operands a token takes."""
    return OPERATORS[token].nin if token in OPERATORS else 0


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

    def __init__(self, training: Points, test: Points) -> None:
        self.training, self.test = training, test
        self.words = [*OPERATORS, *training.columns]
        self.vocabulary = Vocabulary(self.words, " ")
        self.arities = np.array([arity(word) for word in self.words])
        self.trigonometric = np.isin(self.words, TRIGONOMETRIC)
        self.places, self.error = lru_cache(2**14)(self._places), lru_cache(2**16)(self._error)

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


def formulas(nguyen: int = 1, data: str = "") -> Task:
    """Write a formula of x (and y) that fits 20 points: `+ x * x x` is x + x².

    The reward is 1 / (1 + e), where e is the root mean square error in deviations of the values. An expression has 4 to 30
    tokens, no trigonometric function inside another one, and no exp of a log or log of an exp. The policy sees the operator
    above the next token and the token at its left.

    Args:
        nguyen: a formula of the Nguyen benchmark, 1 to 12.
        data: your own points instead: a CSV file with a line of names; the last column is what the formula should give.

    Raises:
        UsageError: there is no such formula, or the file cannot be read.
    """
    search = Search(*(_read(data) if data else _draw(nguyen)))
    space = MultiDiscrete([len(search.words) + 1] * 2)
    return Task(
        search.vocabulary, search.reward, max_tokens=LONGEST + 1, mask=search.mask, features=(space, search.features),
        metrics={
            "solved": search.solved,
            "defined": lambda cs: [bool(np.isfinite(search.error(c.response_ids))) for c in cs],
            "length": lambda cs: [len(c.response_ids) for c in cs],
        },
    )  # fmt: skip


def _draw(nguyen: int) -> tuple[Points, Points]:
    """Return points of a formula of the benchmark for the reward, and others."""
    if nguyen not in NGUYEN:
        raise UsageError(f"nguyen = {nguyen!r} is not a formula of the benchmark; choose 1 to {len(NGUYEN)}")
    formula, num_variables, (low, high) = NGUYEN[nguyen]
    rng = np.random.default_rng(SEED)
    both = []
    for count in (NUM_POINTS, NUM_TEST_POINTS):
        columns = {name: rng.uniform(low, high, count) for name in "xy"[:num_variables]}
        both.append(Points(columns, formula(*columns.values())))
    return both[0], both[1]


def _read(data: str) -> tuple[Points, Points]:
    """Return the points of a file, twice."""
    try:
        names = Path(data).read_text().partition("\n")[0].strip().split(",")
        table = np.loadtxt(data, delimiter=",", skiprows=1, ndmin=2)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_line(error)
        raise UsageError(f"cannot read points from {data}: {reason}") from error
    columns = {name.strip(): column for name, column in zip(names[:-1], table.T, strict=False)}
    bad = [name for name in columns if not name or " " in name or name in OPERATORS]
    if len(columns) + 1 != table.shape[1] or len(columns) == 0 or bad:
        raise UsageError(
            f"{data} has the names {names} above {table.shape[1]} columns; give one name without spaces for each, "
            "different from one another and from the operators"
        )
    values = table[:, -1]
    if not np.isfinite(table).all() or values.std() == 0:
        raise UsageError(f"the points of {data} are not all finite, or all have the same value; fix the file")
    return Points(columns, values), Points(columns, values)
