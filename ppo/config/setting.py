"""A setting describes itself: `setting` declares a dataclass field with its role and its range."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` to `high`, both included; with `positive`, only those above 0."""

    low: float = -math.inf
    high: float = math.inf
    positive: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and abs(value) < math.inf and (value > 0 or not self.positive)

    def __str__(self) -> str:
        if self.positive:
            return "a positive number" + (f", at most {self.high:g}" if self.high < math.inf else "")
        if self.high < math.inf:
            return f"a number from {self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low > -math.inf else "a finite number"


def setting(default: Any, role: str, *, main: bool = False, **limits: Any) -> Any:
    """Return a dataclass field that describes itself. Its type is its annotation, its help the string below it.

    Args:
        default: the default value.
        role: one of ROLES. Presets, saved policies, `ppo compare` and `--help` select settings by role.
        main: people change this setting first, so `--help` lists it first.
        limits: arguments of `Range`, for the number or for each number of a tuple.
    """
    metadata = {"role": role, "main": main, "range": Range(**limits)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def names(settings: Any, *roles: str) -> list[str]:
    """Return the names of the settings that have one of these roles.

    Args:
        settings: a dataclass of settings, or an instance of it.
        roles: some of ROLES.
    """
    return [f.name for f in dataclasses.fields(settings) if f.metadata["role"] in roles]


def check_ranges(settings: Any) -> None:
    """Check every number of a dataclass of settings against its range.

    Raises:
        UsageError: the first setting that is out of range, its value, and what to choose.
    """
    for f in dataclasses.fields(settings):
        value, allowed = getattr(settings, f.name), f.metadata["range"]
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and number not in allowed:
                where = f": {number}" if isinstance(value, tuple) else ""
                fault = "too small" if number < allowed.low else "out of range"
                raise UsageError(f"{f.name} = {value}{where} is {fault}; choose {allowed}")
