"""`ppo compare`: read runs and published figures, print tables and verdicts, write pictures and a web page."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.text import Text

from ppo.compare import report, statistics, tables, verdicts
from ppo.compare.console import print_lines, print_table
from ppo.compare.curves import SAMPLED
from ppo.compare.groups import Comparison, Group, compare_all, contrasts, group_runs
from ppo.compare.logs import find_runs
from ppo.compare.published import WINDOW, Figure, caveats, read_figures, read_sources
from ppo.errors import UsageError
from ppo.numbers import number

LEVELS = np.linspace(0.0, 1.5, 151)  # normalised scores of a performance profile


@dataclass(frozen=True, eq=False)
class Result:
    """The groups, the comparisons of each group with published figures, and the runs that were left out."""

    groups: list[Group]
    comparisons: list[list[Comparison]]
    left_out: list[str]

    @property
    def panels(self) -> dict[str, tuple[list[Group], list[list[Comparison]]]]:
        """Return the groups and their comparisons by environment."""
        panels: dict[str, tuple[list[Group], list[list[Comparison]]]] = {}
        for group, comparisons in zip(self.groups, self.comparisons, strict=True):
            groups, lists = panels.setdefault(group.env_id, ([], []))
            groups.append(group)
            lists.append(comparisons)
        return panels

    def verdicts(self, notes: tables.Notes | None = None) -> list[str]:
        """Return one sentence for each group; `notes` as in `ppo.compare.tables.published_rows`."""
        return [verdicts.verdict(*pair, notes) for pair in zip(self.groups, self.comparisons, strict=True)]

    def summary(self) -> list[tuple[str, tables.Rows, tables.Columns]]:
        """Return title, rows and narrow columns of the table of verdicts and, of several groups, of their numbers.

        There is none where nothing is published that counts.
        """
        both = self.groups, self.comparisons
        if not any(verdicts.highest(comparisons) for comparisons in self.comparisons):
            return []
        parts = [("verdicts, against multi-run figures at this budget", verdicts.rows(*both), tables.VERDICTS)]
        return parts + ([("groups by verdict", verdicts.counts(*both), tables.COUNTS)] if len(self.groups) > 1 else [])

    @property
    def notes(self) -> list[str]:
        """Return warnings about the runs, and what differs in the protocol between them."""
        return self.left_out + [note for group in self.groups for note in group.notes] + contrasts(self.groups)

    def normalized(self) -> dict[str, dict[str, np.ndarray]]:
        """Return normalised scores by algorithm and environment: 0 is untrained, 1 the highest published figure.

        Only environments with a single group of the algorithm, and a multi-run figure at the group's last step.
        """
        normalised: dict[str, dict[str, np.ndarray]] = {}
        number = Counter((group.algorithm, group.env_id) for group in self.groups)
        for group, comparisons in zip(self.groups, self.comparisons, strict=True):
            best = verdicts.highest(comparisons)
            if best is None or number[group.algorithm, group.env_id] > 1 or SAMPLED not in group.policies():
                continue
            start = float(np.mean([run.curves[SAMPLED].returns[0] for run in group.runs]))
            if best.mean > start:
                scores = (best.scores - start) / (best.mean - start)
                normalised.setdefault(group.algorithm, {})[group.env_id] = scores
        return {name: scores for name, scores in normalised.items() if len(scores) > 1}


def chosen_figures(against: tuple[str, ...]) -> list[Figure]:
    """Return the figures of the named sources, or if none is named, of all.

    Args:
        against: names of sources, and paths of CSV files of figures.

    Raises:
        UsageError: an unknown source, or a file that cannot be read.
    """
    known, sources = read_figures(), read_sources()
    names = [name for name in against if not name.lower().endswith(".csv")]
    for name in names:
        if name not in sources:
            raise UsageError(
                f"unknown source {name!r}; choose from {', '.join(sorted(sources))}, or give the path of a .csv file"
            )
    own = [figure for name in against if name.lower().endswith(".csv") for figure in read_figures(Path(name))]
    return own + [figure for figure in known if figure.source in names or not against]


def compare_runs(paths: list[Path], against: tuple[str, ...] = (), env_id: str = "", algorithm: str = "") -> Result:
    """Compare runs with published figures.

    Args:
        paths: run folders, folders of run folders, or CSV files of curves.
        against: names of sources, or CSV files of figures; empty: all sources of the package.
        env_id: of runs that do not name theirs.
        algorithm: of runs that do not name theirs.

    Raises:
        UsageError: a path holds no run, or a source is unknown.
    """
    figures = chosen_figures(against)
    runs, left_out = find_runs(paths, env_id, algorithm)
    if not runs:
        raise UsageError(
            f"no run in {', '.join(map(str, paths))} has logged a return yet; training logs one when an episode ends, so train longer"
        )
    groups = group_runs(runs)
    return Result(groups, [compare_all(group, figures) for group in groups], left_out)


def show(result: Result, console: Console, wide: bool = False) -> None:
    """Print the tables, the notes and the verdicts.

    Args:
        result: of `compare_runs`.
        console: printed to.
        wide: every column in one table; otherwise tables for 80 columns, with numbered notes below.
    """
    notes = None if wide else tables.Notes()

    def table(rows: tables.Rows, title: str, columns: tables.Columns) -> None:
        print_table(console, rows, title, None if wide else columns)

    table(tables.own_rows(result.groups), "your runs", tables.OWN)
    for group, comparisons in zip(result.groups, result.comparisons, strict=True):
        for title, own in tables.by_id(comparisons):
            table(tables.published_rows(own, notes), f"{group.env_id}, {group.name}, {title}", tables.PUBLISHED)
    between = tables.between_rows(result.groups)
    if any(row[-1] != "–" for row in between[1:]):
        table(between, "between your runs", tables.BETWEEN)
    lines = [("note", text) for text in result.notes]
    for name, scores in result.normalized().items():
        pooled, text = np.concatenate(list(scores.values())), tables.span(*statistics.interval(list(scores.values())))
        lines.append(("scores", f"{name}, normalised scores on {', '.join(scores)} (0 untrained, 1 the highest published figure at the "
                      f"budget): IQM {number(float(statistics.iqm(pooled)))} {text}, median {number(float(np.median(pooled)))}"))  # fmt: skip
    lines += [("verdict", text) for text in result.verdicts(notes)]
    if notes is not None:
        if any(result.comparisons):
            console.print(Text(tables.LEGEND), soft_wrap=False)
        print_lines(console, [(str(number), text) for text, number in notes.items()], wide)
        console.print()
    print_lines(console, lines, wide)
    console.print()
    for title, rows, columns in result.summary():
        table(rows, title, columns)


def write(result: Result, folder: Path, centre: Literal["iqm", "mean"]) -> Path:
    """Write a picture of each environment as PNG and SVG, and a web page; return the page's path.

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
    sections: list[report.Section] = []
    notes = tables.Notes()
    for env_id, panel in result.panels.items():
        svg = report.save(report.picture([panel], centre), folder, env_id)
        groups = [
            ([(title, tables.published_rows(part, notes)) for title, part in tables.by_id(own)], verdicts.verdict(group, own, notes))
            for group, own in zip(*panel, strict=True)
        ]  # fmt: skip
        sections.append((env_id, svg, [(text, parts) for parts, text in groups]))
    if len(result.panels) > 1:
        report.save(report.picture(list(result.panels.values()), centre), folder, "overview")
    profiles = result.normalized()
    if profiles:
        sections.append(("All environments", report.save(report.profiles(profiles, LEVELS), folder, "profiles"), []))
    texts = [*result.notes, PROTOCOL, *_sources(result)]
    top = [("", tables.own_rows(result.groups)), *((title, rows) for title, rows, _ in result.summary())]
    text = report.page(top, sections, tables.between_rows(result.groups), list(notes), texts)
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


PROTOCOL = (
    "A run's score at a step is the mean of its training episodes (sampled policy) or of its evaluations (deterministic "
    f"policy) over the last {WINDOW:.0%} of the steps up to it; so is that of a published curve. The interval of the difference of means is Welch's if the "
    "published figure has a standard deviation over seeds, otherwise Student's interval of our mean. The intervals of the "
    "IQM are percentile bootstraps of at least five runs (Agarwal et al. 2021). A difference is not distinguishable if its "
    "95 % interval contains 0."
)


def _sources(result: Result) -> list[str]:
    used = {c.figure.source for comparisons in result.comparisons for c in comparisons}
    return [f"{name}: {s.citation}. {s.data}." for name, s in read_sources().items() if name in used]


def list_figures(console: Console, env_id: str = "") -> None:
    """Print the sources, or with `env_id` the figures of that environment.

    Raises:
        UsageError: there are no figures of the environment.
    """
    figures = read_figures()
    if not env_id:
        for name, source in read_sources().items():
            own = [figure for figure in figures if figure.source == name]
            names = sorted({figure.env_id for figure in own})
            some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            console.print(f"{name}\n  {source.citation}\n  {source.note}\n  {len(own)} figures: {some}\n", markup=False)
        console.print("`ppo compare --list --env-id ENV_ID` lists the figures of one environment", markup=False)
        return
    figures = [figure for figure in figures if caveats(env_id, figure.env_id) is not None]
    if not figures:
        raise UsageError(f"there are no published figures for {env_id}; `ppo compare --list` lists the environments")
    rows: tables.Rows = [("source", "algorithm", "environment", "runs", "protocol", "last step", "score")]
    for figure in sorted(figures, key=lambda f: (f.env_id != env_id, f.algorithm, f.steps[-1], -f.means[-1])):
        std = figure.stds[-1]
        score = number(float(figure.means[-1])) + ("" if math.isnan(std) else f" ± {number(float(std))}")
        rows.append((figure.source, figure.algorithm, figure.env_id, str(figure.seeds or "–"), figure.protocol,
                     f"{figure.steps[-1]:,}", score))  # fmt: skip
    print_table(console, rows, f"{env_id}; figures on the same id come first", tables.LISTED)
    for text in sorted({c for figure in figures for c in caveats(env_id, figure.env_id) or ()}):
        console.print(f"note  {text}", markup=False)
