"""Pictures of a comparison (learning curves and profiles as PNG and SVG), and one self-contained HTML page."""

import html
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ppo.compare import statistics
from ppo.compare.groups import Comparison, Group
from ppo.compare.published import Figure
from ppo.compare.tables import NOTES, Rows, runs_text
from ppo.errors import UsageError

COLOURS = ("#1f5fa8", "#c8553d", "#3b8f5a", "#7b5ea7", "#b8860b", "#4c7a89")
GREYS = ("#555555", "#8a8a8a", "#a9854f", "#7a9a7a", "#9a7a9a")  # of the best five published curves in a panel
# Of an environment its name, its picture as SVG, and for each group the verdict and its tables with their titles.
Section = tuple[str, str, list[tuple[str, list[tuple[str, Rows]]]]]
MAX_NAME = 60  # letters of a group's name in a legend
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --quiet: #666; --line: #ddd; --better: #1a7f37; --worse: #b42318 }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) } a { color: inherit }
.table { overflow-x: auto } table { border-collapse: collapse; font-size: 13px }
td, th { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap }
td:first-child { white-space: pre-wrap; min-width: 12rem } th { color: var(--quiet); font-weight: 600 }
.better { color: var(--better) } .worse { color: var(--worse) }
svg { max-width: 100%; height: auto; background: #fff } li:target { background: #8882 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #181818; --quiet: #999; --line: #444; --better: #4ac26b; --worse: #ff7b72 }
}
"""


def picture(panels: list[tuple[list[Group], list[list[Comparison]]]], centre: str) -> Any:
    """Draw learning curves, one panel per environment: groups with intervals, and the best published figures.

    Args:
        panels: for each environment its groups, and the comparisons of each group.
        centre: iqm or mean.
    """
    columns = min(3, len(panels))
    size = (8.0, 4.2) if len(panels) == 1 else (4.6 * columns, 4.2 * math.ceil(len(panels) / columns))
    figure, axes = pyplot().subplots(math.ceil(len(panels) / columns), columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (groups, comparisons) in zip(axes.flat, panels, strict=False):
        for group, colour in zip(groups, COLOURS * len(groups), strict=False):
            _draw_group(axis, group, colour, centre)
        best_first = sorted((c for own in comparisons for c in own), key=lambda c: (not c.same_id, -c.mean))
        unique = {id(c.figure): c.figure for c in best_first}
        for published, grey in zip(list(unique.values()), GREYS, strict=False):
            ends = (group.end(policy) for group in groups for policy in group.policies()[:1])
            _draw_published(axis, published, grey, max(ends, default=0))
        axis.set_title(groups[0].env_id, loc="left", fontsize=11)
        axis.set_xlabel("environment steps", fontsize=8)
        axis.set_ylabel("return", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0")
        axis.spines[["top", "right"]].set_visible(False)
        alone = len(panels) == 1
        position = (
            {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
            if alone
            else {"loc": "upper left", "bbox_to_anchor": (-0.25, 0), "borderaxespad": 5}
        )
        axis.legend(fontsize=7 if alone else 6, frameon=False, **position)
    figure.tight_layout()
    return figure


def _draw_group(axis: Any, group: Group, colour: str, centre: str) -> None:
    policies = group.policies()
    if not policies:
        return
    steps, returns = group.curves[policies[0]]
    middle = statistics.iqm(returns, axis=0) if centre == "iqm" else returns.mean(0)
    spread = "95 %" if len(returns) >= statistics.ENOUGH else "range"
    runs = f"{'IQM' if centre == 'iqm' else centre} of {len(returns)} runs, {spread}" if len(returns) > 1 else "one run"
    name = group.name if len(group.name) <= MAX_NAME else group.name[: MAX_NAME - 1] + "…"
    axis.plot(steps, middle, color=colour, lw=2, label=f"{name}, {policies[0]}, {runs}", zorder=3)
    if len(returns) > 1:
        low, high = statistics.band(returns, centre)
        axis.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0, zorder=2)


def _draw_published(axis: Any, published: Figure, grey: str, end: int) -> None:
    spread = ", ± std" if np.isfinite(published.stds).any() else ""
    label = f"{published.source}, {published.algorithm}, {published.env_id}, {runs_text(published.seeds)}{spread}"
    inside = published.steps <= 1.02 * end
    steps, means, stds = published.steps[inside], published.means[inside], published.stds[inside]
    if len(steps) == 1:
        axis.errorbar(
            steps, means, None if np.isnan(stds[0]) else stds, fmt="o", color=grey, ms=4, capsize=3, label=label
        )
    else:
        axis.plot(steps, means, color=grey, lw=1.2, ls="--", label=label)
        axis.fill_between(steps, means - stds, means + stds, color=grey, alpha=0.08, lw=0)


def profiles(scores: dict[str, dict[str, np.ndarray]], levels: np.ndarray) -> Any:
    """Draw a performance profile of each algorithm: the share of runs above each normalised score.

    Args:
        scores: normalised scores by algorithm and environment.
        levels: (K,) normalised scores.
    """
    figure, axis = pyplot().subplots(figsize=(8, 3.5))
    for (name, by_env), colour in zip(scores.items(), COLOURS, strict=False):
        pooled = np.concatenate(list(by_env.values()))
        axis.plot(levels, statistics.performance_profile(pooled, levels), color=colour, lw=2,
                  label=f"{name}, {len(pooled)} runs on {len(by_env)} environments")  # fmt: skip
    axis.axvline(1.0, color="#888888", lw=1, ls=":")
    axis.set_xlabel("normalised score: 0 untrained, 1 the highest published multi-run figure at the budget")
    axis.set_ylabel("share of runs above the score")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    return figure


def pyplot() -> Any:
    """Return matplotlib's pyplot, set to draw to files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError("pictures need matplotlib: pip install matplotlib, or choose --out None") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["text.parse_math"] = False  # a $ in a name is a $
    return plt


def save(figure: Any, folder: Path, env_id: str) -> str:
    """Write a picture as PNG and SVG and return the SVG's text."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", env_id)
    figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    pyplot().close(figure)
    svg = text.getvalue()
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return svg[svg.index("<svg") :]


def page(
    top: list[tuple[str, Rows]],
    sections: list[Section],
    between: Rows,
    notes: list[str],
    texts: list[str],
) -> str:
    """Return the HTML page.

    Args:
        top: titles and tables of all runs.
        sections: of each environment.
        between: rows of the runs against each other.
        notes: to which the tables refer by number.
        texts: protocol, sources and warnings.
    """
    parts = ["<h1>Runs against published figures</h1>", *_titled(top)]
    for env_id, svg, groups in sections:
        parts += [f"<h2>{html.escape(env_id)}</h2>", svg]
        for text, titled in groups:
            parts += [f"<p>{html.escape(text)}.</p>", *_titled(titled)]
    if len(between) > 1:
        parts += ["<h2>Between the runs</h2>", table(between)]
    items = (f'<li id="note{n}">{html.escape(note)}</li>' for n, note in enumerate(notes, 1))
    parts += ["<h2>Notes</h2>", f"<ol>{''.join(items)}</ol>", *(f"<p>{html.escape(text)}</p>" for text in texts)]
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"{meta}<title>ppo compare</title><style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _titled(tables: list[tuple[str, Rows]]) -> list[str]:
    return [f"<h3>{html.escape(title)}</h3>{table(rows)}" if title else table(rows) for title, rows in tables]


def table(rows: Rows) -> str:
    """Return rows as an HTML table; the first row is the head."""
    head, *rest = rows
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rest:
        classes = (f' class="{cell}"' if cell in ("better", "worse") else "" for cell in row)
        texts = (_linked(cell) if name == NOTES else html.escape(cell) for name, cell in zip(head, row, strict=True))
        cells = (f"<td{name}>{text}</td>" for name, text in zip(classes, texts, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="table"><table>{"".join(lines)}</table></div>'


def _linked(marks: str) -> str:
    """Return the numbers of notes as links to them."""
    return re.sub(r"\d+", lambda mark: f'<a href="#note{mark[0]}">{mark[0]}</a>', html.escape(marks))
