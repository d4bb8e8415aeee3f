"""The goal: a logged scalar and the value at which a run ends, as `stop_at` names them."""

import difflib
import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ppo.errors import UsageError
from ppo.numbers import number

COMPARE = {">=": operator.ge, "<=": operator.le}
EXAMPLE = '--stop-at "eval/episodic_return >= 475"'


@dataclass(frozen=True)
class Goal:
    """A condition on the scalars of a row: METRIC >= VALUE or METRIC <= VALUE."""

    metric: str
    sign: str
    value: float

    def reached(self, row: Mapping[str, float]) -> str:
        """Return what the metric is in a row that fulfils the condition, otherwise ""; NaN, unmeasured, does not."""
        value = row.get(self.metric, math.nan)
        reached = COMPARE[self.sign](value, self.value)
        return f"{self.metric} is {number(value)} (stop at {self.sign} {number(self.value)})" if reached else ""

    def check(self, metrics: Iterable[str], setting: str = "stop_at") -> None:
        """Refuse a metric that the run does not log.

        Args:
            metrics: that it logs.
            setting: which names the metric.

        Raises:
            UsageError: names the nearest of its metrics.
        """
        known = sorted(metrics)
        if self.metric not in known:
            named = {name.rpartition("/")[2]: name for name in known}
            close = difflib.get_close_matches(self.metric, known, 3) or [
                named[name] for name in difflib.get_close_matches(self.metric.rpartition("/")[2], named, 3)
            ]
            near = f"did you mean {' or '.join(close)}?" if close else f"it logs {', '.join(known)}"
            raise UsageError(f"{setting}: this run does not log {self.metric!r}; {near}", page="metrics")


def read_goal(text: str) -> Goal | None:
    """Return the goal that a text names; None if it is empty.

    Raises:
        UsageError: the text is not a metric, a sign and a number.
    """
    if not text:
        return None
    metric, sign, value = ([*re.split(r"(>=|<=)", text, maxsplit=1), "", ""])[:3]
    try:
        goal = Goal(metric.strip(), sign, float(value))
    except ValueError:
        goal = Goal("", "", 0.0)
    if not goal.metric or not math.isfinite(goal.value):
        raise UsageError(
            f"stop_at = {text!r} is not METRIC >= NUMBER or METRIC <= NUMBER, in quotation marks on a command line: {EXAMPLE}"
        )
    return goal
