"""Group runs that differ only in their seed, and compare each group with published figures."""

import functools
import itertools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ppo.compare import protocol, statistics
from ppo.compare.curves import DETERMINISTIC, SAMPLED, Run
from ppo.compare.logs import EVALUATION
from ppo.compare.published import WINDOW, Figure, caveats, read_sources, task_of

POINTS = 60  # of a group's curve
# Settings that change the environment, what a setting means, and the values without a change.
CHANGES = {
    "env_kwargs": ("our environment has other arguments: {}", ("", "{}")),
    "eval_env_kwargs": ("our evaluations have other arguments: {}", ("", "{}")),
    "wrap": ("our environment has wrappers: {}", ("", "[]")),
    "stop_at": ("our runs end where {}", ("",)),  # a return that ends a run is its best
    "max_episode_steps": ("our episodes end after {} steps", ("", "0")),
}
Outcome = Literal["better", "not distinguishable", "worse", "one run", "no spread"]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one algorithm on one environment with the same settings and different seeds."""

    env_id: str
    algorithm: str
    name: str
    runs: list[Run]

    def policies(self, step: float = math.inf) -> list[str]:
        """Return the policies for which every run has a curve that starts at or before this step and before any run ends."""
        return [
            policy for policy in (SAMPLED, DETERMINISTIC)
            if all(policy in run.curves for run in self.runs)
            and all(run.curves[policy].steps[0] <= min(step, self.end(policy)) for run in self.runs)
        ]  # fmt: skip

    def end(self, policy: str) -> int:
        """Return the last step that every run has reached."""
        return min(int(run.curves[policy].steps[-1]) for run in self.runs)

    def scores(self, policy: str, step: int) -> np.ndarray:
        """Return each run's score (n,) at a step: the mean over WINDOW, or if that is empty the last point before it."""
        scores = []
        for curve in (run.curves[policy] for run in self.runs):
            score = curve.over((1 - WINDOW) * step, step)
            scores.append(curve.returns[curve.steps <= step][-1] if math.isnan(score) else score)
        return np.array(scores)

    @functools.cached_property
    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return by policy steps (K,) that all runs have reached, and the runs' returns (n, K) there."""
        return {policy: self._curve(policy) for policy in self.policies()}

    def _curve(self, policy: str) -> tuple[np.ndarray, np.ndarray]:
        curves = [run.curves[policy].downsample(POINTS) for run in self.runs]
        first, end = max(curve.steps[0] for curve in curves), min(curve.steps[-1] for curve in curves)
        steps = np.linspace(first, end, POINTS)
        return steps, np.stack([np.interp(steps, curve.steps, curve.returns) for curve in curves])

    def setting(self, name: str) -> str:
        """Return a setting of the runs as text; empty if it is unknown."""
        return dict(self.runs[0].settings).get(name, "")

    @property
    def kind(self) -> str:
        """Return the algorithm as published figures name it; they list recurrent PPO separately, as ppo-lstm."""
        name = self.algorithm.lower().replace("recurrentppo", "ppo-lstm")
        return f"{name}-lstm" if self.setting("policy") == "gru" else name

    @property
    def notes(self) -> list[str]:
        """Return warnings about the group: duplicate seeds, and runs that stopped early."""
        notes = [
            f"{run.name} has seed {run.seed}, like another run of its group"
            for run in self.runs if Counter(r.seed for r in self.runs)[run.seed] > 1
        ]  # fmt: skip
        measured = {policy for run in self.runs for policy in run.curves}
        for policy in sorted(measured - {*self.policies()}):
            without = [run.name for run in self.runs if policy not in run.curves]
            why = (
                f"{', '.join(without)} {'has' if len(without) == 1 else 'have'} none"
                if without
                else "they share no step"
            )
            notes.append(f"scores of the {policy} policy are left out: {why}")
        for policy in self.policies():
            ends = {run.name: int(run.curves[policy].steps[-1]) for run in self.runs}
            longest = max(ends.values())
            notes += [
                f"{name} ends at {end:,} steps, others at {longest:,}; all are compared at {min(ends.values()):,} ({policy} policy)"
                for name, end in ends.items() if end < (1 - WINDOW) * longest
            ]  # fmt: skip
        return notes


@dataclass(frozen=True, eq=False)
class Comparison:
    """A group against a published figure, at a step that both have reached."""

    group: Group
    figure: Figure
    step: int
    policy: str  # of our scores
    scores: np.ndarray  # (n,) ours
    mean: float  # of the figure
    std: float  # of the figure; NaN if unknown
    difference: float  # our mean minus the figure's
    low: float  # of the difference's 95 % interval
    high: float
    steps_to: float  # step at which our mean first reached the figure's; NaN if never
    caveats: list[str]

    @property
    def outcome(self) -> Outcome:
        """Return the verdict, or why there is none."""
        if math.isnan(self.low):
            return "one run" if len(self.scores) < 2 else "no spread"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not distinguishable"

    @property
    def final(self) -> bool:
        """Return whether our runs end at this step."""
        return self.step >= (1 - WINDOW) * self.group.end(self.policy)

    @property
    def same_id(self) -> bool:
        """Return whether the figure is of the very id of our environment, not of another version."""
        return self.figure.env_id == self.group.env_id

    @property
    def is_target(self) -> bool:
        """Return whether the verdict counts this figure: it has several runs, the budget of ours, and it learns."""
        return self.figure.seeds > 1 and self.final and self.figure.learns


def group_runs(runs: list[Run]) -> list[Group]:
    """Group runs that differ only in their seed.

    A group's name has the settings in which it differs from others, as far as they are known: another library's logs tell none. If
    these leave two groups with one name, it has that of the first run as well.
    """
    members_of: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Run]] = {}
    for run in runs:
        members_of.setdefault((run.env_id, run.algorithm, run.settings), []).append(run)
    groups = []
    for (env_id, algorithm, settings), members in members_of.items():
        others = [dict(key[2]) for key in members_of if key[:2] == (env_id, algorithm)]
        differing = [f"{k} {v}" for k, v in settings if any(k in other and other[k] != v for other in others)]
        groups.append(Group(env_id, algorithm, ", ".join([algorithm, *differing]), members))
    shared = {key for key, number in Counter((group.env_id, group.name) for group in groups).items() if number > 1}
    groups = [
        replace(group, name=f"{group.name} ({group.runs[0].name}{', …' if group.runs[1:] else ''})")
        if (group.env_id, group.name) in shared
        else group
        for group in groups
    ]
    return sorted(groups, key=lambda group: (group.env_id, group.name))


def contrasts(groups: list[Group]) -> list[str]:
    """Return a sentence for each difference of protocol between two groups on one game of Atari."""
    own = [(group, protocol.of_run(group.env_id, dict(group.runs[0].settings))) for group in groups]
    return [
        f"{first.env_id}: {a} ({first.name}); {b} ({second.name})"
        for (first, one), (second, other) in itertools.combinations(own, 2)
        if first.env_id == second.env_id and task_of(first.env_id)[0].startswith("Atari ")
        for a, b in protocol.differences(one, other)
    ]


def compare_all(group: Group, figures: list[Figure]) -> list[Comparison]:
    """Compare a group with every figure that fits; see `compare`.

    Figures of the very same id come first, then comparisons at the group's last step, then the figure's mean, highest first.
    """
    comparisons = [compare(group, figure) for figure in figures]
    return sorted((c for c in comparisons if c is not None), key=lambda c: (not c.same_id, not c.final, -c.mean))


def compare(group: Group, figure: Figure) -> Comparison | None:
    """Compare a group with a figure; None if the task or algorithm differs, or the group does not reach the figure."""
    changes = caveats(group.env_id, figure.env_id, dict(group.runs[0].settings))
    if changes is None or figure.algorithm.partition(" (")[0].lower() not in ("", group.kind):
        return None
    last, first = int(figure.steps[-1]), int(figure.steps[0])
    # Prefer the policy that the figure measured. The caveats name the difference if only the other one is there.
    for policy in sorted(group.policies(), key=lambda policy: policy != figure.policy):
        end = group.end(policy)
        step = min(last, end)
        if end >= (1 - WINDOW) * first and policy in group.policies(step):
            break
    else:
        return None
    scores, (mean, std) = group.scores(policy, step), figure.at(step)
    steps, returns = group.curves[policy]
    std = std if std > 0 else math.nan  # a standard deviation of 0 gives no interval
    values = [
        (text, group.setting(name), same) for name, (text, same) in CHANGES.items()
        if policy == DETERMINISTIC or name not in EVALUATION
    ]  # fmt: skip
    source = read_sources().get(figure.source)
    changes += [text.format(value) for text, value, same in values if value not in same]
    differences = [*changes, *_protocol(policy, figure), *_spread(figure, std), *_budgets(group, figure, step)]
    differences += [f"{figure.source}: {source.note}"] if source else []
    return Comparison(
        group, figure, step, policy, scores, mean, std, *statistics.difference(scores, mean, std, figure.seeds, source.ddof if source else 0),
        steps_to=statistics.steps_to(steps, returns.mean(0), mean), caveats=differences,
    )  # fmt: skip


def _protocol(policy: str, figure: Figure) -> list[str]:
    """Return the differences between our protocol and the figure's."""
    if figure.policy == "unstated":
        return ["the source does not state which policy was measured"]
    texts = [f"our policy is {policy}, theirs {figure.policy}"] if policy != figure.policy else []
    if policy == SAMPLED and "training episodes" not in figure.protocol:
        texts.append("ours are training episodes, theirs a separate evaluation")
    if policy == DETERMINISTIC and "training episodes" in figure.protocol:
        texts.append("ours is a separate evaluation, theirs are training episodes")
    return texts


def _spread(figure: Figure, std: float) -> list[str]:
    if figure.seeds < 2:
        return ["theirs is one run" if figure.seeds else "the source does not state the number of runs"]
    texts = ["theirs has no standard deviation over seeds and counts as exact"] if math.isnan(std) else []
    return texts + (
        [] if figure.learns else ["their curve ends no higher than it begins, so the verdict leaves it out"]
    )


def _budgets(group: Group, figure: Figure, step: int) -> list[str]:
    """Return the budgets beyond the step: with a longer budget the learning rate was still high at the step."""
    ours = int(group.setting("total_timesteps") or max(group.end(policy) for policy in group.policies()))
    theirs = int(figure.steps[-1])
    texts = [f"our budget is {ours:,} steps"] if step < (1 - WINDOW) * ours else []
    return texts + ([f"their budget is {theirs:,} steps"] if step < (1 - WINDOW) * theirs else [])
