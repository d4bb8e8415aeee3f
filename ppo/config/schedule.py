"""Schedules: a number that changes over the budget, as "3e-4 -> 0", or that adapts to measurements."""

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple

from tyro.constructors import PrimitiveConstructorSpec

from ppo.config.words import read_number

SYNTAX = "write START -> VALUE, then perhaps linear, cosine or step, then perhaps `at SHARE`"
ADAPTIVE = re.compile(r"adaptive(?: from (\S+))?(?: between (\S+) and (\S+))?")


class Adaptive(NamedTuple):
    """What "adaptive" alone means for a setting."""

    start: float
    low: float
    high: float
    target: str = ""  # another setting, the target to adapt to


LEARNING_RATE = Adaptive(3e-4, 1e-6, 1e-2, "target_kl")  # bounds of rl_games and of skrl's KLAdaptiveLR
GAMMA = Adaptive(0.995, 0.9, 0.995)  # looks 10 to 200 steps ahead


class Point(NamedTuple):
    """A value, and the share of the budget after which the number has it."""

    value: float
    share: float = 0.0
    shape: str = "linear"  # of the way from the point before: linear, cosine or step


@dataclass(frozen=True)
class Schedule:
    """A number as a function of the share of the budget that is spent; or, with bounds, one that adapts.

    It is linear from point to point, a half-wave of the cosine, or with `step` the earlier value until the later point. After the
    last point it stays. Since it depends on nothing but the share, a resumed run goes on with the same numbers. Its text, which
    `read_schedule` reads, is that of the settings: `0.0003 -> 0`, `0.2 -> 0.1 step at 0.5`, `adaptive from 0.0003 between 1e-06
    and 0.01`.

    Args:
        points: the first is at share 0, the others at increasing shares up to 1.
        bounds: the lowest and the highest value of a number that adapts; it starts at its only point.
    """

    points: tuple[Point, ...]
    bounds: tuple[float, float] | None = None

    def at(self, spent: float) -> float:
        """Return the number where this share of the budget is spent; of one that adapts, its start."""
        for before, after in pairwise(self.points):
            if spent >= after.share:
                continue
            if after.shape == "step":
                return before.value
            way = (spent - before.share) / (after.share - before.share)
            way = (1 - math.cos(math.pi * way)) / 2 if after.shape == "cosine" else way
            return before.value * (1 - way) + after.value * way
        return self.points[-1].value

    @property
    def constant(self) -> bool:
        """Return whether the number stays the same."""
        return len(self.points) == 1 and not self.adapts

    @property
    def adapts(self) -> bool:
        """Return whether the number follows measurements instead of the share of the budget."""
        return self.bounds is not None

    @property
    def lowest_end(self) -> float:
        """Return the lowest number with which a run can end."""
        return self.bounds[0] if self.bounds else self.at(1.0)

    @property
    def highest_end(self) -> float:
        """Return the highest number with which a run can end."""
        return self.bounds[1] if self.bounds else self.at(1.0)

    def within(self, value: float) -> float:
        """Return the value, or the bound that it is beyond."""
        low, high = self.bounds or (value, value)
        return min(max(value, low), high)

    def starting_at(self, value: float) -> "Schedule":
        """Return a number that adapts, from another start, which is at a bound if the value is beyond it."""
        return Schedule((Point(self.within(value)),), self.bounds)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return the numbers that a range must hold. A schedule may begin or end at 0 also where a constant may not be 0."""
        values = tuple(point.value for point in self.points)
        return (tuple(value for value in values if value) or values) + (self.bounds or ())

    def __str__(self) -> str:
        if self.bounds is not None:
            low, high = map(_text, self.bounds)
            return f"adaptive from {_text(self.points[0].value)} between {low} and {high}"
        first, *rest = self.points
        return " -> ".join([_text(first.value), *map(_segment, rest)])


def _segment(point: Point) -> str:
    shape = "" if point.shape == "linear" else f" {point.shape}"
    return _text(point.value) + shape + (f" at {_text(point.share)}" if point.share < 1 else "")


def _text(value: float) -> str:
    return str(value).removesuffix(".0")


def read_schedule(text: str, adaptive: Adaptive | None = None) -> float | Schedule:
    """Return the number or the schedule that a text describes.

    Args:
        text: as Schedule's.
        adaptive: the start and the bounds that a text which adapts may leave out; None: the number cannot adapt.

    Raises:
        ValueError: it describes none.
    """
    text = " ".join(text.split())
    if text.startswith("adaptive"):
        return _read_adaptive(text, adaptive)
    start, *rest = (part.strip() for part in text.split("->"))
    if not rest:
        try:
            return read_number(start)
        except ValueError as error:
            raise ValueError(f"{error}; for a schedule {SYNTAX}, as in 3e-4 -> 0") from error
    if not all([start, *rest]):
        raise ValueError(f"{text!r} has -> without a number on each side; {SYNTAX}, as in 3e-4 -> 0")
    points = [Point(read_number(start))]
    for number, part in enumerate(rest, 1):
        point = _read_point(part, last=number == len(rest))
        if point.share <= points[-1].share:
            raise ValueError(f"{point.share:g} is not after {points[-1].share:g}; write the shares in increasing order")
        points.append(point)
    return Schedule(tuple(points))


def _read_point(text: str, last: bool) -> Point:
    match = re.fullmatch(r"(\S+)(?: (linear|cosine|step))?(?: at (\S+))?", text)
    if match is None:
        raise ValueError(f"{text!r} is not understood; {SYNTAX}, as in 3e-4 -> 0 cosine at 0.8")
    value, shape = read_number(match[1]), match[2] or "linear"
    if match[3] is None and (not last or shape == "step"):
        raise ValueError(f"{text!r} does not say when; write `at SHARE` behind it, as in {text} at 0.5")
    share = 1.0 if match[3] is None else read_number(match[3])
    if not 0 < share <= 1:
        raise ValueError(f"at {match[3]} is not a share of the budget; choose a number above 0 and at most 1")
    return Point(value, share, shape)


def _read_adaptive(text: str, own: Adaptive | None) -> Schedule:
    match = ADAPTIVE.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not understood; write adaptive, then perhaps from START, then perhaps between LOW and HIGH"
        )
    if own is None:
        raise ValueError("it has nothing to adapt to; choose a number or a schedule")
    low, high = (read_number(match[2]), read_number(match[3])) if match[2] else (own.low, own.high)
    if low > high:
        raise ValueError(f"{text!r} has its bounds the wrong way round; write between {high:g} and {low:g}")
    start = read_number(match[1]) if match[1] else min(max(own.start, low), high)
    if not low <= start <= high:
        raise ValueError(f"{text!r} begins outside of its bounds; choose a start from {low:g} to {high:g}")
    return Schedule((Point(start),), (low, high))


def _read_flag(words: list[str]) -> float | Schedule | str:
    """Return what a flag says; a text that adapts as it is, since what it leaves out depends on the setting."""
    return words[0] if words[0].strip().startswith("adaptive") else read_schedule(words[0])


Scheduled = Annotated[  # the type of a setting that may change during a run; the others stay the same
    float | Schedule,
    PrimitiveConstructorSpec(
        nargs=1, metavar="FLOAT|SCHEDULE", instance_from_str=_read_flag,
        is_instance=lambda value: isinstance(value, float | Schedule), str_from_instance=lambda value: [str(value)],
    ),
]  # fmt: skip
