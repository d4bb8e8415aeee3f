"""Runs in groups that differ in their seed alone, beside published figures: the difference, its interval, a verdict."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppo.compare import statistics
from ppo.compare.curves import DETERMINISTIC, SAMPLED, Run
from ppo.compare.published import Figure, caveats

WINDOW = 0.05  # a score at a step is the mean over this share of the steps before it
POINTS = 60  # of a group's curve
Word = Literal["better", "not distinguishable", "worse", "one run", "no spread"]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one algorithm on one environment with the same settings: one a seed."""

    env_id: str
    algorithm: str
    name: str
    runs: list[Run]

    def policies(self, step: float = math.inf) -> list[str]:
        """Return the policies for which every run has a curve that begins by this step."""
        return [
            policy for policy in (SAMPLED, DETERMINISTIC)
            if all(policy in run.curves and run.curves[policy].steps[0] <= step for run in self.runs)
        ]  # fmt: skip

    def end(self, policy: str) -> int:
        """Return the last step that every run has reached."""
        return min(int(run.curves[policy].steps[-1]) for run in self.runs)

    def scores(self, policy: str, step: int) -> np.ndarray:
        """Return each run's score (n,) at a step: the mean over WINDOW, or the last point where that holds none."""
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

    def setting(self, name: str) -> str:
        """Return a setting of the runs as text, empty where they do not say."""
        return dict(self.runs[0].settings).get(name, "")

    @property
    def kind(self) -> str:
        """Return the algorithm as published figures name it: recurrent PPO is one of its own."""
        recurrent = self.setting("policy") == "gru" or self.algorithm.lower() == "recurrentppo"
        return "ppo-lstm" if recurrent else self.algorithm.lower()

    @property
    def notes(self) -> list[str]:
        """Return what a reader of the group's figures should know: runs that stopped early, seeds that stand twice."""
        said = [
            f"{run.name} holds seed {run.seed}, which another run of the group has"
            for run in self.runs if Counter(r.seed for r in self.runs)[run.seed] > 1
        ]  # fmt: skip
        for policy in self.policies():
            ends = {run.name: int(run.curves[policy].steps[-1]) for run in self.runs}
            longest = max(ends.values())
            said += [
                f"{name} ends at {end:,} steps, others at {longest:,}: all are compared where it ends ({policy})"
                for name, end in ends.items() if end < (1 - WINDOW) * longest
            ]  # fmt: skip
        return said


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
            return "one run" if len(self.scores) < 2 else "no spread"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not distinguishable"

    @property
    def final(self) -> bool:
        """Return whether ours ended here."""
        return self.step >= (1 - WINDOW) * self.group.end(self.policy)


def group_runs(runs: list[Run]) -> list[Group]:
    """Put runs together that differ in their seed alone; a group's name tells it from the others on its environment."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Run]] = {}
    for run in runs:
        found.setdefault((run.env_id, run.algorithm, run.settings), []).append(run)
    groups = []
    for (env_id, algorithm, settings), members in found.items():
        others = [dict(key[2]) for key in found if key[:2] == (env_id, algorithm)]
        telling = [f"{k} {v}" for k, v in settings if any(other.get(k) != v for other in others)]
        groups.append(Group(env_id, algorithm, ", ".join([algorithm, *telling]), members))
    return sorted(groups, key=lambda group: (group.env_id, group.name))


def compare(group: Group, figures: list[Figure]) -> list[Comparison]:
    """Return the group beside each figure for its task and algorithm that lies within its steps.

    Those that are met at the group's end come first, the best first.
    """
    found = [beside(group, figure) for figure in figures]
    return sorted((c for c in found if c is not None), key=lambda c: (not c.final, -c.mean))


def beside(group: Group, figure: Figure) -> Comparison | None:
    """Return a group beside a figure; None where task, algorithm or budget do not meet."""
    changes = caveats(group.env_id, figure.env_id)
    if changes is None or figure.algorithm.partition(" (")[0].lower() not in ("", group.kind):
        return None
    last, first = int(figure.steps[-1]), int(figure.steps[0])
    # Like with like; where ours was not measured as theirs, as it was, which the caveats say.
    for policy in sorted(group.policies(), key=lambda policy: policy != figure.policy):
        end = group.end(policy)
        step = min(last, end)
        if end >= min(first, (1 - WINDOW) * last) and policy in group.policies(step):
            break
    else:
        return None
    scores, (mean, std) = group.scores(policy, step), figure.at(step)
    steps, returns = group.curve(policy)
    std = std if std > 0 else math.nan  # 0 is no spread to reckon with
    kwargs = group.setting("env_kwargs")
    changes += [f"ours changes the environment: {kwargs}"] if kwargs not in ("", "{}") else []
    said = [*changes, *_protocol(policy, figure), *_spread(figure, std), *_budgets(group, figure, step)]
    return Comparison(
        group, figure, step, policy, scores, mean, std, *statistics.difference(scores, mean, std, figure.seeds),
        steps_to=statistics.steps_to(steps, returns.mean(0), mean), caveats=said,
    )  # fmt: skip


def _protocol(policy: str, figure: Figure) -> list[str]:
    """Return what stands between our protocol and the figure's."""
    if figure.policy == "unstated":
        return ["theirs does not say which policy was measured"]
    said = [f"ours is the {policy} policy, theirs {figure.policy}"] if policy != figure.policy else []
    if policy == SAMPLED and "training episodes" not in figure.protocol:
        said.append("ours are training episodes, theirs a separate evaluation")
    if policy == DETERMINISTIC and "training episodes" in figure.protocol:
        said.append("ours is a separate evaluation, theirs are training episodes")
    return said


def _spread(figure: Figure, std: float) -> list[str]:
    if figure.seeds < 2:
        return ["theirs is one run" if figure.seeds else "how many runs theirs are is not stated"]
    return ["theirs has no spread over seeds and is taken as a point"] if math.isnan(std) else []


def _budgets(group: Group, figure: Figure, step: int) -> list[str]:
    """Return whether either run went on beyond the step: its learning rate may have fallen only later."""
    ours = int(group.setting("total_timesteps") or max(group.end(policy) for policy in group.policies()))
    theirs = int(figure.steps[-1])
    said = [f"ours goes on to {ours:,} steps"] if step < (1 - WINDOW) * ours else []
    said += [f"theirs goes on to {theirs:,} steps"] if step < (1 - WINDOW) * theirs else []
    return said
