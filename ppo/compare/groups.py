"""Runs in groups that differ in their seed alone, beside published figures: the difference, its interval, a verdict."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppo.compare import statistics
from ppo.compare.curves import DETERMINISTIC, SAMPLED, Run
from ppo.published import Figure, caveats

WINDOW = 0.05  # a score at a step is the mean over this share of the steps before it
POINTS = 60  # of a group's curve
Word = Literal["better", "not distinguishable", "worse", "one run"]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one algorithm on one environment with the same settings: one a seed."""

    env_id: str
    algorithm: str
    name: str
    runs: list[Run]

    @property
    def end(self) -> int:
        """Return the step that every run has reached."""
        return min(int(curve.steps[-1]) for run in self.runs for curve in run.curves.values())

    def policies(self, step: int) -> list[str]:
        """Return the policies for which every run has a curve that begins by this step."""
        return [
            policy for policy in (SAMPLED, DETERMINISTIC)
            if all(policy in run.curves and run.curves[policy].steps[0] <= step for run in self.runs)
        ]  # fmt: skip

    def scores(self, policy: str, step: int) -> np.ndarray:
        """Return each run's score (n,) at a step: its training episodes' mean over WINDOW, or its last evaluation."""
        found = []
        for curve in (run.curves[policy] for run in self.runs):
            score = curve.over((1 - WINDOW) * step, step)
            found.append(curve.returns[curve.steps <= step][-1] if math.isnan(score) else score)
        return np.array(found)

    def curve(self, policy: str) -> tuple[np.ndarray, np.ndarray]:
        """Return steps (K,) and the runs' returns (n, K) there, on a grid that all of them reach."""
        curves = [run.curves[policy].thinned(POINTS) for run in self.runs]
        first, end = max(curve.steps[0] for curve in curves), min(curve.steps[-1] for curve in curves)
        steps = np.linspace(first, end, POINTS)
        return steps, np.stack([np.interp(steps, curve.steps, curve.returns) for curve in curves])


@dataclass(frozen=True, eq=False)
class Comparison:
    """A group beside a published figure, at a step that both have reached."""

    group: Group
    figure: Figure
    step: int
    policy: str  # that ours was measured with
    scores: np.ndarray  # (n,) ours
    mean: float  # theirs
    std: float  # theirs, NaN where unknown
    difference: float
    low: float
    high: float
    steps_to: float  # the step at which our mean first reached theirs, NaN if never
    caveats: list[str]

    @property
    def word(self) -> Word:
        """Return the verdict."""
        if math.isnan(self.low):
            return "one run"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not distinguishable"


def group_runs(runs: list[Run]) -> list[Group]:
    """Put runs together that differ in their seed alone; a group's name tells it from the others on its environment."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        found.setdefault((run.env_id, run.algorithm, run.settings), []).append(run)
    groups = []
    for (env_id, algorithm, settings), members in found.items():
        others = [dict(key[2]) for key in found if key[:2] == (env_id, algorithm)]  # type: ignore[call-overload]
        telling = [f"{k} {v}" for k, v in settings if any(other.get(k) != v for other in others)]  # type: ignore[attr-defined]
        name = ", ".join([str(algorithm), *telling])
        groups.append(Group(str(env_id), str(algorithm), name, members))
    return sorted(groups, key=lambda group: (group.env_id, group.name))


def compare(group: Group, figures: list[Figure]) -> list[Comparison]:
    """Return the group beside each figure for its task and algorithm that lies within its steps.

    Those that are met at the group's end come first, the best first.
    """
    found = [beside(group, figure) for figure in figures]
    return sorted((c for c in found if c is not None), key=lambda c: (c.step < (1 - WINDOW) * group.end, -c.mean))


def beside(group: Group, figure: Figure) -> Comparison | None:
    """Return a group beside a figure; None where task, algorithm or budget do not meet."""
    changes = caveats(group.env_id, figure.env_id)
    algorithm = figure.algorithm.partition(" (")[0].lower()
    last, first = int(figure.steps[-1]), int(figure.steps[0])
    step = last if group.end >= (1 - WINDOW) * last else group.end
    if changes is None or algorithm not in ("", group.algorithm.lower()) or step < first:
        return None
    measured = group.policies(step)
    if not measured:
        return None
    wanted = figure.policy if figure.policy in measured else measured[0]
    scores = group.scores(wanted, step)
    mean, std = figure.at(step)
    steps, returns = group.curve(wanted)
    said = [*changes, *_protocol(wanted, figure)]
    for whose, end in (("ours", group.end), ("theirs", last)):
        if step < (1 - WINDOW) * end:
            said.append(f"this is within {whose} of {end:,} steps, whose learning rate may not have fallen yet")
    return Comparison(
        group, figure, step, wanted, scores, mean, std, *statistics.difference(scores, mean, std, figure.seeds),
        steps_to=statistics.steps_to(steps, returns.mean(0), mean), caveats=said,
    )  # fmt: skip


def _protocol(policy: str, figure: Figure) -> list[str]:
    """Return what stands between our protocol and the figure's."""
    said = []
    if policy != figure.policy:
        said.append(f"ours is the {policy} policy, theirs {figure.policy}")
    if policy == SAMPLED and "training episodes" not in figure.protocol:
        said.append("ours are training episodes, theirs a separate evaluation")
    if policy == DETERMINISTIC and "training episodes" in figure.protocol:
        said.append("ours is a separate evaluation, theirs are training episodes")
    if figure.seeds < 2:
        said.append("theirs is one run" if figure.seeds else "how many runs theirs are is not stated")
    elif math.isnan(figure.stds[-1]):
        said.append("no spread over seeds was published: theirs is taken as a point")
    return said
