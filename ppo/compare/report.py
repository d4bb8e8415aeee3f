"""What a comparison looks like: tables for the terminal, learning curves as PNG and SVG, one self-contained HTML page."""

import html
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ppo.compare import statistics
from ppo.compare.curves import SAMPLED
from ppo.compare.groups import Comparison, Group
from ppo.errors import UsageError
from ppo.published import Figure

COLOURS = ("#1f5fa8", "#c8553d", "#3b8f5a", "#7b5ea7", "#b8860b", "#4c7a89")
# of the published curves in a panel, at most five: the best
GREYS = ("#555555", "#8a8a8a", "#a9854f", "#7a9a7a", "#9a7a9a")
Rows = list[tuple[str, ...]]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd } table { border-collapse: collapse; font-size: 13px }
td, th { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #eee; vertical-align: top }
th { color: #666; font-weight: 600 } .better { color: #1a7f37 } .worse { color: #b42318 } svg { max-width: 100%; height: auto }
"""


def number(value: float) -> str:
    """Return a number with as many digits as its size deserves; – for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


def span(low: float, high: float) -> str:
    """Return an interval as text; – where there is none."""
    return "–" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def own_rows(groups: list[Group]) -> Rows:
    """Return a row for each group and policy: seeds, end of its curve, mean ± deviation, IQM with interval, area."""
    rows: Rows = [("environment", "what", "runs", "policy", "at step", "mean ± std", "IQM [95 %]", "area under curve")]
    for group in groups:
        for policy in group.policies(group.end):
            scores = group.scores(policy, group.end)
            steps, returns = group.curve(policy)
            deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
            mean, middle = float(scores.mean()), float(statistics.iqm(scores))
            rows.append((
                group.env_id, group.name, "one run" if len(scores) == 1 else str(len(scores)), policy, f"{group.end:,}",
                f"{number(mean)} ± {number(deviation)}" if len(scores) > 1 else number(mean),
                f"{number(middle)} {span(*statistics.interval([scores]))}" if len(scores) > 1 else "–",
                number(statistics.area(steps, returns.mean(0))),
            ))  # fmt: skip
    return rows


def published_rows(comparisons: list[Comparison]) -> Rows:
    """Return a row for each comparison: theirs, ours, the difference with its interval, the verdict, what stands between."""
    head = (
        "source",
        "published",
        "at step",
        "ours",
        "difference [95 %]",
        "we are",
        "theirs reached at",
        "what stands between",
    )
    rows: Rows = [head]
    for c in comparisons:
        theirs = number(c.mean) + ("" if math.isnan(c.std) else f" ± {number(c.std)}")
        seeds = f"{c.figure.seeds} runs" if c.figure.seeds > 1 else "one run" if c.figure.seeds else "runs not stated"
        name = f"{c.figure.source}, {c.figure.algorithm}, {c.figure.env_id}, {seeds}"
        where = "–" if math.isnan(c.steps_to) else f"{c.steps_to:,.0f}"
        rows.append((
            name, theirs, f"{c.step:,}", f"{number(float(c.scores.mean()))} ({c.policy})",
            f"{number(c.difference)} {span(c.low, c.high)}", c.word, where, "; ".join(c.caveats) or "–",
        ))  # fmt: skip
    return rows


def between_rows(groups: list[Group]) -> Rows:
    """Return a row for each two groups on one environment: both IQMs, and the probability that the first is better."""
    rows: Rows = [("environment", "first", "second", "policy", "at step", "IQM", "IQM", "P(first is better)")]
    for index, first in enumerate(groups):
        for second in groups[index + 1 :]:
            step = min(first.end, second.end)
            if first.env_id != second.env_id or SAMPLED not in {*first.policies(step)} & {*second.policies(step)}:
                continue
            a, b = first.scores(SAMPLED, step), second.scores(SAMPLED, step)
            rows.append((
                first.env_id, first.name, second.name, SAMPLED, f"{step:,}", number(float(statistics.iqm(a))),
                number(float(statistics.iqm(b))), f"{statistics.probability_of_improvement(a, b):.2f}",
            ))  # fmt: skip
    return rows


def verdict(group: Group, comparisons: list[Comparison]) -> str:
    """Return one sentence about a group: how it stands to what was published over several seeds."""
    runs = "one run" if len(group.runs) == 1 else f"{len(group.runs)} runs"
    who = f"{group.env_id}, {group.name} ({runs})"
    several = [c for c in comparisons if c.figure.seeds > 1]
    if not several:
        return f"{who}: nothing published over several runs for this task, algorithm and budget"
    best = several[0]
    theirs = f"{best.figure.source}'s {number(best.mean)} on {best.figure.env_id}, the best published over several runs"
    ours = f"{number(float(best.scores.mean()))} at {best.step:,} steps, {best.policy} policy"
    if best.word == "one run":
        return f"{who}: {ours}, against {theirs}; one run has no interval, so there is no verdict: train more seeds"
    count = {word: sum(c.word == word for c in several) for word in ("better", "not distinguishable", "worse")}
    others = ", ".join(f"{word} {number_}" for word, number_ in count.items() if number_)
    words = {"better": "better than", "not distinguishable": "not distinguishable from", "worse": "worse than"}
    interval = f"difference {number(best.difference)} {span(best.low, best.high)}"
    return f"{who}: {ours}, {words[best.word]} {theirs} ({interval}); of {len(several)} such figures: {others}"


def picture(panels: list[tuple[list[Group], list[Comparison]]], centre: str) -> Any:
    """Draw learning curves, one panel an environment: groups with 95 % intervals, the best published with their spread.

    Args:
        panels: the groups of an environment, and their comparisons.
        centre: iqm or mean.
    """
    columns = min(3, len(panels))
    size = (8.0, 4.2) if len(panels) == 1 else (4.4 * columns, 3.6 * math.ceil(len(panels) / columns))
    figure, axes = pyplot().subplots(math.ceil(len(panels) / columns), columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (groups, comparisons) in zip(axes.flat, panels, strict=False):
        for group, colour in zip(groups, COLOURS * len(groups), strict=False):
            _draw_group(axis, group, colour, centre)
        unique = {id(c.figure): c.figure for c in sorted(comparisons, key=lambda c: -c.mean)}
        for published, grey in zip(list(unique.values()), GREYS, strict=False):
            _draw_published(axis, published, grey, max(group.end for group in groups))
        axis.set_title(groups[0].env_id, loc="left", fontsize=11)
        axis.set_xlabel("environment steps", fontsize=8)
        axis.set_ylabel("return", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0")
        axis.spines[["top", "right"]].set_visible(False)
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if len(panels) == 1 else {"loc": "best"}
        axis.legend(fontsize=7 if len(panels) == 1 else 5.5, frameon=False, **beside)
    figure.tight_layout()
    return figure


def _draw_group(axis: Any, group: Group, colour: str, centre: str) -> None:
    policies = group.policies(group.end)
    if not policies:
        return
    steps, returns = group.curve(policies[0])
    middle = statistics.iqm(returns, axis=0) if centre == "iqm" else returns.mean(0)
    runs = "one run" if len(returns) == 1 else f"{centre.upper() if centre == 'iqm' else centre} of {len(returns)} runs"
    axis.plot(steps, middle, color=colour, lw=2, label=f"{group.name}, {policies[0]}, {runs}", zorder=3)
    if len(returns) > 1:
        low, high = statistics.band(returns, centre)
        axis.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0, zorder=2)


def _draw_published(axis: Any, published: Figure, grey: str, end: int) -> None:
    label = f"{published.source}, {published.env_id}" + (f", {published.seeds} runs" if published.seeds > 1 else "")
    inside = published.steps <= 1.02 * end
    steps, means, stds = published.steps[inside], published.means[inside], published.stds[inside]
    if len(steps) == 1:
        spread = None if np.isnan(stds[0]) else stds
        axis.errorbar(steps, means, spread, fmt="o", color=grey, ms=4, capsize=3, label=label)
    else:
        axis.plot(steps, means, color=grey, lw=1.2, ls="--", label=label)
        axis.fill_between(steps, means - stds, means + stds, color=grey, alpha=0.08, lw=0)


def profiles(scores: dict[str, list[np.ndarray]], levels: np.ndarray) -> Any:
    """Draw performance profiles: for each algorithm the share of runs above each normalised score."""
    figure, axis = pyplot().subplots(figsize=(8, 3.5))
    for (name, found), colour in zip(scores.items(), COLOURS, strict=False):
        pooled = np.concatenate(found)
        axis.plot(levels, statistics.performance_profile(pooled, levels), color=colour, lw=2,
                  label=f"{name}, {len(pooled)} runs on {len(found)} environments")  # fmt: skip
    axis.axvline(1.0, color="#888888", lw=1, ls=":")
    axis.set_xlabel("score: 0 untrained, 1 the best published over several runs")
    axis.set_ylabel("share of runs above")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    return figure


def pyplot() -> Any:
    """Return matplotlib's pyplot, drawing to files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError("pictures need matplotlib: pip install matplotlib, or leave --out empty") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, folder: Path, env_id: str) -> str:
    """Write a picture as PNG and SVG and return the SVG's text."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", env_id)
    figure.savefig(folder / f"{name}.png", dpi=150)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot().close(figure)
    drawn = text.getvalue()
    (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
    return drawn[drawn.index("<svg") :]


def page(sections: list[tuple[str, list[str], str, Rows]], own: Rows, between: Rows, notes: list[str]) -> str:
    """Return one HTML page: for each environment its verdicts, picture and table; then our runs, and the sources."""
    parts = ["<h1>Runs against published figures</h1>", table(own)]
    for env_id, verdicts, drawn, rows in sections:
        parts += [f"<h2>{html.escape(env_id)}</h2>", *(f"<p>{html.escape(text)}.</p>" for text in verdicts), drawn]
        parts.append(table(rows) if len(rows) > 1 else "")
    if len(between) > 1:
        parts += ["<h2>Between the runs</h2>", table(between)]
    parts += ["<h2>Sources and protocol</h2>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    head = f'<meta charset="utf-8"><title>ppo compare</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def table(rows: Rows) -> str:
    """Return rows, the first of which is the head, as an HTML table."""
    head, *rest = rows
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rest:
        cells = (f'<td class="{cell}">{html.escape(cell)}</td>' for cell in row)
        lines.append("<tr>" + "".join(cell.replace('class="–"', "") for cell in cells) + "</tr>")
    return f"<table>{''.join(lines)}</table>"
