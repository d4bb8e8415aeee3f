"""What a comparison says: rows for the terminal and the page, and the verdict in one sentence."""

import math

import numpy as np

from ppo.compare import statistics
from ppo.compare.curves import SAMPLED
from ppo.compare.groups import Comparison, Group

Rows = list[tuple[str, ...]]


def number(value: float) -> str:
    """Return a number with as many digits as its size deserves; – for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


def span(low: float, high: float) -> str:
    """Return an interval as text; – where there is none."""
    return "–" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def own_rows(groups: list[Group]) -> Rows:
    """Return a row for each group and policy: runs, end, mean ± deviation, IQM with interval, mean over training."""
    rows: Rows = [
        ("environment", "what", "runs", "policy", "at step", "mean ± std", "IQM [95 %]", "mean over training")
    ]
    for group in groups:
        for policy in group.policies():
            end = group.end(policy)
            scores, (steps, returns) = group.scores(policy, end), group.curve(policy)
            single = len(scores) == 1
            deviation = math.nan if single else float(np.std(scores, ddof=1))
            mean, middle = number(float(scores.mean())), number(float(statistics.iqm(scores)))
            rows.append((
                group.env_id, group.name, "one run" if single else str(len(scores)), policy, f"{end:,}",
                mean if single else f"{mean} ± {number(deviation)}",
                "–" if single else f"{middle} {span(*statistics.interval([scores]))}",
                number(statistics.area(steps, returns.mean(0))),
            ))  # fmt: skip
    return rows


def published_rows(comparisons: list[Comparison]) -> Rows:
    """Return a row for each comparison: theirs, ours, the difference with its interval, the verdict, what stands between."""
    head = (
        "source", "published", "at step", "ours", "difference [95 %]", "we are", "we reached theirs at", "what stands between",
    )  # fmt: skip
    rows: Rows = [head]
    for c in comparisons:
        theirs = number(c.mean) + ("" if math.isnan(c.std) else f" ± {number(c.std)}")
        name = f"{c.figure.source}, {c.figure.algorithm}, {c.figure.env_id}, {runs_text(c.figure.seeds)}"
        where = "–" if math.isnan(c.steps_to) else f"{c.steps_to:,.0f}"
        rows.append((
            name, theirs, f"{c.step:,}", f"{number(float(c.scores.mean()))} ({c.policy})",
            f"{number(c.difference)} {span(c.low, c.high)}", c.word, where, "; ".join(c.caveats) or "–",
        ))  # fmt: skip
    return rows


def runs_text(seeds: int) -> str:
    """Return how many runs a figure is of, 0 where nothing says."""
    return f"{seeds} runs" if seeds > 1 else "one run" if seeds else "runs not stated"


def between_rows(groups: list[Group]) -> Rows:
    """Return a row for each two groups on one environment: both IQMs, and the probability that the first is better."""
    rows: Rows = [("environment", "first", "second", "policy", "at step", "IQM", "IQM", "P(first is better)")]
    for index, first in enumerate(groups):
        for second in groups[index + 1 :]:
            if first.env_id != second.env_id or not (SAMPLED in first.policies() and SAMPLED in second.policies()):
                continue
            step = min(first.end(SAMPLED), second.end(SAMPLED))
            if not (SAMPLED in first.policies(step) and SAMPLED in second.policies(step)):
                continue
            a, b = first.scores(SAMPLED, step), second.scores(SAMPLED, step)
            several = min(len(a), len(b)) > 1
            rows.append((
                first.env_id, f"{first.name} ({runs_text(len(a))})", f"{second.name} ({runs_text(len(b))})", SAMPLED, f"{step:,}",
                number(float(statistics.iqm(a))), number(float(statistics.iqm(b))),
                f"{statistics.probability_of_improvement(a, b):.2f}" if several else "–",
            ))  # fmt: skip
    return rows


def verdict(group: Group, comparisons: list[Comparison]) -> str:
    """Return one sentence about a group: how it stands to what was published over several runs, where its own end."""
    who = f"{group.env_id}, {group.name} ({runs_text(len(group.runs))})"
    several = [c for c in comparisons if c.figure.seeds > 1 and c.final]
    if not several:
        return f"{who}: none of the figures has several runs and the budget at which this ends"
    best = several[0]
    theirs = f"{best.figure.source}'s {number(best.mean)} on {best.figure.env_id}, the highest of them at this budget"
    ours = f"{number(float(best.scores.mean()))} at {best.step:,} steps, {best.policy} policy"
    between = f" ({'; '.join(best.caveats)})" if best.caveats else ""
    if best.word in ("one run", "no spread"):
        why = {"one run": "one run has no interval, so there is no verdict: train more seeds",
               "no spread": "neither has a spread, so there is no interval and no verdict"}[best.word]  # fmt: skip
        return f"{who}: {ours}, against {theirs}{between}; {why}"
    words = {"better": "better than", "not distinguishable": "not distinguishable from", "worse": "worse than"}
    # A source may give the same runs as a curve and as a score: counted once, by the better-placed of them.
    each = {(c.figure.source, c.figure.algorithm, c.figure.env_id): c.word for c in reversed(several)}
    counts = ", ".join(f"{word} {n}" for word in words if (n := sum(w == word for w in each.values())))
    interval = f"difference {number(best.difference)} {span(best.low, best.high)}"
    return f"{who}: {ours}, {words[best.word]} {theirs}, {interval}{between}; of {len(each)} such figures: {counts}"
