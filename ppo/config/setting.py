"""A setting describes itself: `setting` declares a dataclass field with its role, its range and what it takes effect on."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from ppo.config.schedule import Adaptive, Point, Schedule, Scheduled, read_schedule
from ppo.errors import UsageError

ROLES = {
    "problem": "What is learnt: the environment's arguments, the discount, the scale of rewards.",
    "rollout": "How many steps are collected between two updates.",
    "update": "How the policy learns from a rollout.",
    "network": "The architecture. Weights fit only a run with the same values.",
    "sampling": "How actions are drawn from the policy's distribution.",
    "reference": "Other runs to start from or to stay close to.",
    "run": "Names, checkpoints and evaluations of the run.",
    "machine": "How the run uses the machine.",
}
FLOAT32, TINY, INT64 = 3.4e38, 1.2e-38, 2**63 - 1  # the largest and the smallest normal float32, the largest int64


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included, that float32 or int64 holds; with `positive`, those above 0."""

    low: float = -math.inf
    high: float = math.inf
    positive: bool = False

    def __contains__(self, value: float) -> bool:
        return not self.fault(value)

    def fault(self, value: float) -> str:
        """Return why a number is not in the range and what to choose instead; "" if it is."""
        largest = INT64 if isinstance(value, int) else FLOAT32
        if value < self.low:
            return f"is too small; choose {self}"
        if not (value <= self.high and (value > 0 or not self.positive)) or math.inf in (value, -value):  # or NaN
            return f"is out of range; choose {self}"
        if self.positive and value < TINY:
            return f"is too small; choose at least {TINY:g}"
        if abs(value) <= largest:
            return ""
        return f"is too large for {'int64' if largest is INT64 else 'float32'}; choose {self}, up to {largest:,}"

    def __str__(self) -> str:
        if self.positive:
            return "a positive number" + (f", at most {self.high:g}" if self.high < math.inf else "")
        if self.high < math.inf:
            return f"a number from {self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low > -math.inf else "a finite number"


def setting(
    default: Any,
    role: str,
    *,
    main: bool = False,
    fixed: bool = False,
    needs: str = "",
    acts_on: str = "",
    adaptive: Adaptive | None = None,
    **limits: Any,
) -> Any:
    """Return a dataclass field that describes itself. Its type is its annotation, its help the string below it.

    Args:
        default: the default value.
        role: one of ROLES. Presets, saved policies, `ppo compare` and `--help` select settings by role.
        main: people change this setting first, so `--help` lists it first.
        fixed: a resumed run cannot change it. No resumed run can change its network either.
        needs: another setting, without which this one has no effect.
        acts_on: a kind of `Leaf.factors`; for actions without such a part, the setting has no effect.
        adaptive: what "adaptive" means for this setting; None: it cannot adapt.
        limits: arguments of `Range`, for the number or for each number of a tuple.
    """
    metadata = {
        "role": role, "main": main, "fixed": fixed or role == "network", "needs": needs, "acts_on": acts_on,
        "adaptive": adaptive, "range": Range(**limits),
    }  # fmt: skip
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def check_whole(name: str, value: Any, low: int) -> None:
    """Refuse what is not a whole number of at least `low` that int64 holds.

    Raises:
        UsageError: names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"{name} = {value!r:.60} is not a whole number")
    if fault := Range(low).fault(int(value)):
        raise UsageError(f"{name} = {value} {fault}")


def names(settings: Any, *roles: str) -> list[str]:
    """Return the names of the settings that have one of these roles.

    Args:
        settings: a dataclass of settings, or an instance of it.
        roles: some of ROLES.
    """
    return [f.name for f in dataclasses.fields(settings) if f.metadata["role"] in roles]


def schedules(settings: Any) -> dict[str, Schedule]:
    """Return the settings that may change during a run, by name; a constant is a schedule of one point."""
    values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.type == Scheduled}
    return {n: x if isinstance(x, Schedule) else Schedule((Point(x),)) for n, x in values.items()}


def read_schedules(settings: Any) -> None:
    """Replace the texts of a new dataclass of settings, by which callers name schedules, by the schedules.

    Raises:
        UsageError: a text describes none, or the setting cannot adapt.
    """
    for f in (f for f in dataclasses.fields(settings) if f.type == Scheduled):
        if isinstance(value := getattr(settings, f.name), str):
            try:
                object.__setattr__(settings, f.name, read_schedule(value, f.metadata["adaptive"]))
            except ValueError as error:
                raise UsageError(f"{f.name} = {value!r}: {error}") from None


def changeable(settings: Any) -> list[str]:
    """Return the names of the settings that a resumed run may change."""
    return [f.name for f in dataclasses.fields(settings) if not f.metadata["fixed"]]


def check_changeable(settings: Any, changes: Iterable[str]) -> None:
    """Refuse to change a setting that is fixed when a run begins.

    Raises:
        UsageError: names it.
    """
    fixed = {f.name for f in dataclasses.fields(settings)} - set(changeable(settings))
    for name in (name for name in changes if name in fixed):
        raise UsageError(
            f"{name} is fixed when a run begins; to change it, start a new run with `ppo train`",
            page="environments#resuming-with-other-settings",
        )


def check_ranges(settings: Any, values: dict[str, Any] | None = None, source: str = "") -> None:
    """Check numbers against the ranges of a dataclass of settings.

    Args:
        settings: the dataclass, or an instance of it.
        values: by name; None: those of the instance.
        source: where they were read, for the error.

    Raises:
        UsageError: the first setting that is out of range, its value, and what to choose.
    """
    values = vars(settings) if values is None else values
    for f in (f for f in dataclasses.fields(settings) if f.name in values):
        value = values[f.name]
        numbers = value.numbers if isinstance(value, Schedule) else value
        for number in numbers if isinstance(numbers, tuple) else (value,):
            if isinstance(number, int | float) and (fault := f.metadata["range"].fault(number)):
                place = f" in {source}" if source else ""
                which = f": {number}" if isinstance(numbers, tuple) else ""
                raise UsageError(f"{f.name} = {value}{place}{which} {fault}")
