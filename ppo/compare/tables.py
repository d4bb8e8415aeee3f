"""Tables of a comparison, for the terminal and the page, and the verdict in one sentence."""

import math
import re

import numpy as np

from ppo.compare import statistics
from ppo.compare.curves import SAMPLED
from ppo.compare.groups import Comparison, Group
from ppo.numbers import number

Rows = list[tuple[str, ...]]
NOTES = "notes"  # head of the column with numbers of notes
# The columns of a narrow table: the lines of a cell, each made of columns of the whole table.
Columns = dict[str, tuple[tuple[str, ...], ...]]
OWN: Columns = {
    "environment": (("environment",), ("group", "runs")), "policy, at step": (("policy",), ("at step",)),
    "mean ± std": (("mean ± std",),), "IQM [95 %]": (("IQM [95 %]",),), "over\ntraining": (("mean over training",),),
}  # fmt: skip
PUBLISHED: Columns = {
    "source, at step": (("source", "at step"),), "published": (("published",),), "ours": (("ours",),),
    "difference [95 %]": (("difference [95 %]",),), "verdict": (("verdict",),), NOTES: ((NOTES,),),
}  # fmt: skip
BETWEEN: Columns = {
    "environment": (("environment",), ("policy",), ("at step",)), "first, its IQM": (("first",), ("first IQM",)),
    "second, its IQM": (("second",), ("second IQM",)), "P(first is better)": (("P(first is better)",),),
}  # fmt: skip
LISTED: Columns = {
    "source": (("source",), ("algorithm", "environment")), "runs": (("runs",),), "protocol": (("protocol",),),
    "last step": (("last step",),), "score": (("score",),),
}  # fmt: skip
VERDICTS: Columns = {name: ((name,),) for name in ("against", "id", "theirs", "ours", "difference", "verdict")}
COUNTS: Columns = {
    "against": (("against",),), "id": (("id",),), "groups": (("groups",),), "better": (("better",),),
    "unclear": (("not distinguishable",),), "worse": (("worse",),), "–": (("no verdict",),),
}  # fmt: skip
WORDS = ("first, its IQM", "second, its IQM", "protocol", NOTES)  # columns that wrap, as the first one does
SHORT = {"not distinguishable": "unclear", "one run": "–", "no spread": "–"}  # verdicts of a narrow table
LEGEND = (
    "ours: s of the sampled policy, d of the deterministic policy; verdict: unclear if the two cannot be distinguished, – if "
    "there is no interval"
)


class Notes(dict[str, int]):
    """The notes of a comparison, each with its number: the same text has the same number everywhere."""

    def marks(self, texts: list[str]) -> str:
        """Return the numbers of some texts, which become notes if they are new."""
        return ", ".join(map(str, sorted(self.setdefault(text, len(self) + 1) for text in texts)))


def narrow(rows: Rows, columns: Columns) -> Rows:
    """Return a table with fewer and narrower columns, whose cells have several lines.

    Args:
        rows: the whole table; the first row is the head.
        columns: OWN, PUBLISHED, BETWEEN or LISTED.
    """
    head, *rest = rows
    cells = [
        ["\n".join(", ".join(row[head.index(name)] for name in line) for line in lines) for lines in columns.values()]
        for row in rest
    ]
    names = tuple(_short("", name) for name in columns)
    return [names, *(tuple(_short(name, cell) for name, cell in zip(columns, row, strict=True)) for row in cells)]


def _short(name: str, cell: str) -> str:
    if name == "verdict":
        return SHORT.get(cell, cell)
    return re.sub(r" (?=[±\[])", "\n", re.sub(r"\((.)\w+\)$", r"\1", cell) if name == "ours" else cell)


def span(low: float, high: float) -> str:
    """Return an interval as text; – for NaN."""
    return "–" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def own_rows(groups: list[Group]) -> Rows:
    """Return a row for each group and policy: runs, last step, mean ± std, IQM with interval, mean over training."""
    rows: Rows = [
        ("environment", "group", "runs", "policy", "at step", "mean ± std", "IQM [95 %]", "mean over training")
    ]
    for group in groups:
        for policy in group.policies():
            end = group.end(policy)
            scores, (steps, returns) = group.scores(policy, end), group.curves[policy]
            single = len(scores) == 1
            deviation = math.nan if single else float(np.std(scores, ddof=1))
            mean, middle = number(float(scores.mean())), number(float(statistics.iqm(scores)))
            rows.append((
                group.env_id, group.name, runs_text(len(scores)), policy, f"{end:,}",
                mean if single else f"{mean} ± {number(deviation)}",
                "–" if single else f"{middle} {span(*statistics.interval([scores]))}",
                number(statistics.area(steps, returns.mean(0))),
            ))  # fmt: skip
    return rows


def by_id(comparisons: list[Comparison]) -> list[tuple[str, list[Comparison]]]:
    """Return title and comparisons of figures on the very id of the runs, then of those on other ids of the task."""
    parts = [("figures on the same id", True), ("figures on other ids of the task", False)]
    split = [(title, [c for c in comparisons if c.same_id == same]) for title, same in parts]
    return [(title, part) for title, part in split if part]


def published_rows(comparisons: list[Comparison], notes: Notes | None = None) -> Rows:
    """Return a row for each comparison: both scores, the difference with its interval, the verdict, the caveats.

    Args:
        comparisons: of one group.
        notes: takes the caveats, of which the rows have the numbers; None: the rows have the texts.
    """
    head = (
        "source", "published", "at step", "ours", "difference [95 %]", "verdict", "steps to match", "protocol differences" if notes is None else NOTES,
    )  # fmt: skip
    rows: Rows = [head]
    for c in comparisons:
        published = number(c.mean) + ("" if math.isnan(c.std) else f" ± {number(c.std)}")
        name = f"{c.figure.source}, {c.figure.algorithm}, {c.figure.env_id}, {runs_text(c.figure.seeds)}"
        matched = "–" if math.isnan(c.steps_to) else f"{c.steps_to:,.0f}"
        rows.append((
            name, published, f"{c.step:,}", f"{number(float(c.scores.mean()))} ({c.policy})",
            f"{number(c.difference)} {span(c.low, c.high)}", c.outcome, matched, ("; ".join(c.caveats) if notes is None else notes.marks(c.caveats)) or "–",
        ))  # fmt: skip
    return rows


def runs_text(seeds: int) -> str:
    """Return a number of runs as text; 0 means that the source does not state it."""
    return f"{seeds} runs" if seeds > 1 else "one run" if seeds else "number of runs not stated"


def between_rows(groups: list[Group]) -> Rows:
    """Return a row for each pair of groups on one environment: both IQMs, and P(a run of the first is better)."""
    rows: Rows = [
        ("environment", "first", "second", "policy", "at step", "first IQM", "second IQM", "P(first is better)")
    ]
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
