"""Points that a formula should fit: of the Nguyen benchmark, or of a file; and the values of an expression at points."""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ppo.errors import UsageError, one_line
from ppo.text.ratings import text_lines

OPERATORS: dict[str, np.ufunc] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log,
}  # fmt: skip
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


def draw(nguyen: int) -> tuple[Points, Points]:
    """Return points of a formula of the benchmark for the reward, and others.

    Raises:
        UsageError: there is no such formula.
    """
    if nguyen not in NGUYEN:
        raise UsageError(f"nguyen = {nguyen!r} is not a formula of the benchmark; choose 1 to {len(NGUYEN)}")
    formula, num_variables, (low, high) = NGUYEN[nguyen]
    rng = np.random.default_rng(SEED)
    both = []
    for count in (NUM_POINTS, NUM_TEST_POINTS):
        columns = {name: rng.uniform(low, high, count) for name in "xy"[:num_variables]}
        both.append(Points(columns, formula(*columns.values())))
    return both[0], both[1]


def read(data: str) -> tuple[Points, Points]:
    """Return the points of a CSV file, whose last column is the value, twice.

    Raises:
        UsageError: it has no names, or a line that is not a point.
    """
    try:
        names, *rows = [row for row in csv.reader(text_lines(data)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UsageError(f"cannot read points from {data}: {one_line(error)}") from error
    names = [name.strip() for name in names]
    bad = [name for name in names[:-1] if not name or set(name) & set(" \t") or name in OPERATORS or _is_number(name)]
    if len(names) < 2 or bad or len({*names}) < len(names):
        raise UsageError(
            f"{data} begins with the line {','.join(names)!r:.80}; give a name without spaces for each column there, different "
            "from one another, from numbers and from the operators"
        )
    for n, row in enumerate(rows, 1):
        if len(row) != len(names) or not all(map(_is_number, row)):
            raise UsageError(f"point {n} of {data} is {','.join(row)!r:.80}; give {len(names)} finite numbers")
    if len({float(row[-1]) for row in rows}) < 2:
        raise UsageError(f"the points of {data} are fewer than two, or all have the same value; give others")
    table = np.array(rows, np.float64)
    with np.errstate(over="ignore"):
        deviation = table[:, -1].std()
    if not 0 < deviation < math.inf:
        raise UsageError(f"the values of {data} are too large or too close for float64; give them in another unit")
    points = Points(dict(zip(names[:-1], table.T, strict=False)), table[:, -1])
    return points, points


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text  # which Python reads as a separator of thousands
    except ValueError:
        return False
