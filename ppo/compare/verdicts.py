"""The verdict on each group of runs, as a sentence and in one table of all groups, and how many groups are better or worse."""

from collections import Counter

from ppo.compare.groups import Comparison, Group
from ppo.compare.published import task_of
from ppo.compare.tables import Notes, Rows, runs_text, span
from ppo.numbers import number

OUTCOMES = ("better", "not distinguishable", "worse")
WORDS = {"better": "better than", "not distinguishable": "not distinguishable from", "worse": "worse than"}
REASONS = {"one run": "one run has no interval; train more seeds", "no spread": "neither score has a spread over seeds"}
NONE = "no published figure has several runs and the same budget"


def targets(comparisons: list[Comparison]) -> list[Comparison]:
    """Return the comparisons that count: of each source, algorithm and id a score before curves, then the highest mean.

    A score has the deviation of the seeds' scores; that of a curve has the noise of single evaluations too.

    Args:
        comparisons: of one group, in the order of `ppo.compare.groups.compare_all`, which the result keeps.
    """
    first: dict[tuple[str, str, str], Comparison] = {}
    for c in sorted(comparisons, key=lambda c: c.figure.is_curve):
        if c.is_target:
            first.setdefault((c.figure.source, c.figure.algorithm, c.figure.env_id), c)
    return [c for c in comparisons if c in first.values()]


def highest(comparisons: list[Comparison]) -> Comparison | None:
    """Return the comparison that counts with the highest published mean, on any id; None if none counts."""
    return max(targets(comparisons), key=lambda c: c.mean, default=None)


def rivals(comparisons: list[Comparison]) -> list[Comparison]:
    """Return the highest comparison of each source on the same id, then the highest of all if that is on another id."""
    same: dict[str, Comparison] = {}
    for c in targets(comparisons):
        if c.same_id:
            same.setdefault(c.figure.source, c)
    best = highest(comparisons)
    return [*same.values(), *([best] if best and not best.same_id else [])]


def verdict(group: Group, comparisons: list[Comparison], notes: Notes | None = None) -> str:
    """Return one sentence about a group: against the highest figure on the same id, and against the highest on any id.

    Args:
        group: of runs.
        comparisons: of the group.
        notes: as in `ppo.compare.tables.published_rows`.
    """
    who = f"{group.env_id}, {group.name} ({runs_text(len(group.runs))})"
    best = highest(comparisons)
    if best is None:
        return f"{who}: no verdict, since {NONE}"
    named = dict.fromkeys((rivals(comparisons)[0], best))
    numbers = Counter[str](c.outcome for c in targets(comparisons))
    tally = ", ".join(f"{word} {numbers[word]}" for word in OUTCOMES if numbers[word])
    ending = [f"multi-run figures at this budget: {tally}"] if tally else []
    return f"{who}: {'; '.join([*(_clause(c, c is best, notes) for c in named), *ending])}"


def _clause(c: Comparison, best: bool, notes: Notes | None) -> str:
    """Return our score against one figure in words."""
    places = [
        *(["the highest on the same id"] if c.same_id else []),
        *(["the highest multi-run figure at this budget"] if best else []),
    ]
    theirs = f"{c.figure.source}'s {number(c.mean)} on {c.figure.env_id}, {' and '.join(places)}"
    ours = f"{number(float(c.scores.mean()))} at {c.step:,} steps ({c.policy} policy)"
    told = "; ".join(c.caveats) if notes is None else f"notes {notes.marks(c.caveats)}"
    caveats = f" ({told})" if c.caveats else ""
    if c.outcome in REASONS:
        return f"{ours}, against {theirs}{caveats}; no verdict, since {REASONS[c.outcome]}"
    return f"{ours}, {WORDS[c.outcome]} {theirs}, difference {number(c.difference)} {span(c.low, c.high)}{caveats}"


def rows(groups: list[Group], comparisons: list[list[Comparison]]) -> Rows:
    """Return the table of verdicts: below a row that names a group, a row for each of its rivals.

    Args:
        groups: of runs.
        comparisons: of each group.
    """
    table: Rows = [("against", "id", "theirs", "ours", "difference", "verdict")]
    for group, own in zip(groups, comparisons, strict=True):
        table.append((f"{group.env_id}, {group.name}, {runs_text(len(group.runs))}", *[""] * 5))
        table += [
            (f"  {c.figure.source}", _id(c), number(c.mean), f"{number(float(c.scores.mean()))} ({c.policy})", number(c.difference), c.outcome)
            for c in rivals(own)
        ] or [("  none", *["–"] * 5)]  # fmt: skip
    return table


def _id(c: Comparison) -> str:
    """Return the id of a figure: same, the version if it differs only in that, or the whole id."""
    version = task_of(c.figure.env_id)[1]
    return "same" if c.same_id else f"v{version}" if version else c.figure.env_id


def counts(groups: list[Group], comparisons: list[list[Comparison]]) -> Rows:
    """Return how many groups are better or worse: than each source on the same id, and than the highest of any id.

    Args:
        groups: of runs.
        comparisons: of each group.
    """
    tallies: dict[tuple[str, bool, str], Counter[str]] = {}  # by algorithm, whether any id, and source
    for group, own in zip(groups, comparisons, strict=True):
        best = highest(own)
        pairs = [(False, c.figure.source, c) for c in rivals(own) if c.same_id] + (
            [(True, "the highest", best)] if best else []
        )
        for any_id, source, c in pairs:
            tallies.setdefault((group.algorithm, any_id, source), Counter())[c.outcome] += 1
    return [
        ("against", "id", "groups", *OUTCOMES, "no verdict"),
        *((f"{algorithm} against {source}", "any" if any_id else "same", str(tally.total()),
           *(str(tally[word]) for word in OUTCOMES), str(sum(tally[word] for word in REASONS)))
          for (algorithm, any_id, source), tally in sorted(tallies.items(), key=lambda item: (*item[0][:2], -item[1].total()))),
    ]  # fmt: skip
