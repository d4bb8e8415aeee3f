"""`ppo compare`: read runs and figures, print tables and verdicts, write pictures and a page."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from ppo.compare import report, statistics, tables
from ppo.compare.curves import SAMPLED, find_runs
from ppo.compare.groups import WINDOW, Comparison, Group, compare, group_runs
from ppo.compare.published import Figure, caveats, read_figures, read_sources
from ppo.errors import UsageError

LEVELS = np.linspace(0.0, 1.5, 151)  # of a performance profile: 0 is untrained, 1 what was published


@dataclass(frozen=True, eq=False)
class Result:
    """What a comparison came to: groups, and each one's comparisons with published figures, best figure first."""

    groups: list[Group]
    comparisons: list[list[Comparison]]
    left_out: list[str]

    @property
    def panels(self) -> dict[str, tuple[list[Group], list[list[Comparison]]]]:
        """Return by environment its groups and their comparisons."""
        found: dict[str, tuple[list[Group], list[list[Comparison]]]] = {}
        for group, comparisons in zip(self.groups, self.comparisons, strict=True):
            groups, others = found.setdefault(group.env_id, ([], []))
            groups.append(group)
            others.append(comparisons)
        return found

    @property
    def verdicts(self) -> list[str]:
        """Return one sentence for each group."""
        return [tables.verdict(*pair) for pair in zip(self.groups, self.comparisons, strict=True)]

    @property
    def notes(self) -> list[str]:
        """Return what a reader should know of the runs."""
        return self.left_out + [note for group in self.groups for note in group.notes]

    def normalized(self) -> dict[str, dict[str, np.ndarray]]:
        """Return by algorithm and environment the scores, 0 where training began and 1 at the highest published.

        Only environments with one group of the algorithm, and a figure over several runs at the budget where it ends.
        """
        found: dict[str, dict[str, np.ndarray]] = {}
        several = Counter((group.algorithm, group.env_id) for group in self.groups)
        for group, comparisons in zip(self.groups, self.comparisons, strict=True):
            best = next((c for c in comparisons if c.figure.seeds > 1 and c.final), None)
            if best is None or several[group.algorithm, group.env_id] > 1 or SAMPLED not in group.policies():
                continue
            start = float(np.mean([run.curves[SAMPLED].returns[0] for run in group.runs]))
            if best.mean > start:
                scores = (best.scores - start) / (best.mean - start)
                found.setdefault(group.algorithm, {})[group.env_id] = scores
        return {name: scores for name, scores in found.items() if len(scores) > 1}


def chosen_figures(against: tuple[str, ...]) -> list[Figure]:
    """Return the figures of the named sources, or of all; a name that ends in .csv is a file of the user's own.

    Raises:
        UsageError: there is no such source or file.
    """
    known, sources = read_figures(), read_sources()
    names = [name for name in against if not name.endswith(".csv")]
    for name in names:
        if name not in sources:
            raise UsageError(
                f"there is no source {name!r}; known are {', '.join(sorted(sources))}, or the path of a .csv"
            )
    own = [figure for name in against if name.endswith(".csv") for figure in read_figures(Path(name))]
    return own + [figure for figure in known if figure.source in names or not against]


def compare_runs(paths: list[Path], against: tuple[str, ...] = (), env_id: str = "", algorithm: str = "") -> Result:
    """Compare runs with published figures.

    Args:
        paths: run folders, folders of run folders, or CSV files of curves.
        against: sources by name, or CSV files of figures; empty: all in the package.
        env_id: of runs that do not say theirs.
        algorithm: of runs that do not say theirs.

    Raises:
        UsageError: a path holds no run, or there is no such source.
    """
    figures = chosen_figures(against)
    runs, left_out = find_runs(paths, env_id, algorithm)
    if not runs:
        raise UsageError(f"no run in {', '.join(map(str, paths))} has logged a return yet")
    groups = group_runs(runs)
    return Result(groups, [compare(group, figures) for group in groups], left_out)


def show(result: Result, console: Console) -> None:
    """Print the tables and the verdicts."""
    _print(console, tables.own_rows(result.groups), "your runs")
    for group, comparisons in zip(result.groups, result.comparisons, strict=True):
        if comparisons:
            _print(console, tables.published_rows(comparisons), f"{group.env_id}, {group.name}")
    between = tables.between_rows(result.groups)
    if len(between) > 1:
        _print(console, between, "between your runs")
    for name, scores in result.normalized().items():
        pooled, text = np.concatenate(list(scores.values())), tables.span(*statistics.interval(list(scores.values())))
        console.print(f"{name} over {', '.join(scores)}, 0 untrained and 1 the highest published at the budget: "
                      f"IQM {statistics.iqm(pooled):.2f} {text}, median {np.median(pooled):.2f}", markup=False)  # fmt: skip
    for text in result.notes:
        console.print(f"   note  {text}", markup=False)
    for text in result.verdicts:
        console.print(f"verdict  {text}", markup=False)


def _print(console: Console, rows: tables.Rows, title: str) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table, markup=False)
    console.print()


def write(result: Result, folder: Path, centre: Literal["iqm", "mean"]) -> Path:
    """Write a picture of each environment as PNG and SVG, and the page; return the page's path.

    Raises:
        UsageError: the folder cannot be written, or matplotlib is missing.
    """
    report.pyplot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(result, folder, centre)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from error


def _write(result: Result, folder: Path, centre: Literal["iqm", "mean"]) -> Path:
    sections: list[tuple[str, str, list[tuple[str, tables.Rows]]]] = []
    for env_id, panel in result.panels.items():
        drawn = report.save(report.picture([panel], centre), folder, env_id)
        found = [(tables.verdict(group, own), tables.published_rows(own)) for group, own in zip(*panel, strict=True)]
        sections.append((env_id, drawn, found))
    if len(result.panels) > 1:
        report.save(report.picture(list(result.panels.values()), centre), folder, "overview")
    profiles = result.normalized()
    if profiles:
        sections.append(("All environments", report.save(report.profiles(profiles, LEVELS), folder, "profiles"), []))
    notes = [*result.notes, PROTOCOL, *_sources(result)]
    text = report.page(sections, tables.own_rows(result.groups), tables.between_rows(result.groups), notes)
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


PROTOCOL = (
    f"A run's score at a step is the mean of its training episodes (sampled policy) or of its evaluations (deterministic "
    f"policy) over the {WINDOW:.0%} of the steps before it. The interval of the difference of means is Welch's where the published "
    "figure has a spread over seeds, else Student's of our mean; those of the IQM are percentile bootstraps (Agarwal et al. 2021), from five runs on. "
    "A difference whose 95 % interval holds 0 is not distinguishable."
)


def _sources(result: Result) -> list[str]:
    used = {c.figure.source for comparisons in result.comparisons for c in comparisons}
    return [f"{name}: {s.citation}. {s.data}. {s.note}." for name, s in read_sources().items() if name in used]


def list_figures(console: Console, env_id: str = "") -> None:
    """Print the sources, or with an environment its figures.

    Raises:
        UsageError: nothing is known of the environment.
    """
    figures = read_figures()
    if not env_id:
        for name, source in read_sources().items():
            own = [figure for figure in figures if figure.source == name]
            names = sorted({figure.env_id for figure in own})
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            console.print(
                f"{name}\n  {source.citation}\n  {source.note}\n  {len(own)} figures: {shown}\n", markup=False
            )
        console.print("--list --env-id ENV_ID shows the figures of one environment", markup=False)
        return
    found = [figure for figure in figures if caveats(env_id, figure.env_id) is not None]
    if not found:
        raise UsageError(f"nothing is published here for {env_id}; ppo compare --list shows what is")
    rows: tables.Rows = [("source", "algorithm", "environment", "runs", "protocol", "to step", "score there")]
    for figure in sorted(found, key=lambda f: (f.algorithm, f.steps[-1], -f.means[-1])):
        std = figure.stds[-1]
        score = tables.number(float(figure.means[-1])) + ("" if math.isnan(std) else f" ± {tables.number(float(std))}")
        rows.append((figure.source, figure.algorithm, figure.env_id, str(figure.seeds or "–"), figure.protocol,
                     f"{figure.steps[-1]:,}", score))  # fmt: skip
    _print(console, rows, env_id)
    for text in sorted({c for figure in found for c in caveats(env_id, figure.env_id) or ()}):
        console.print(f"note  {text}", markup=False)
