"""Write the pages of docs/results/ and the results in README.md from the figures in benchmarks/results/; nothing is trained.

    python -m benchmarks.pages

benchmarks/templates/NAME.md (Jinja) is filled with the fields of benchmarks/results/NAME.json, and gives docs/results/NAME.md. A
suite's template extends suite.jinja, which has the tables. Of other pages, `figures("NAME")` returns the fields.
"""

import functools
import json
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.runs import RESULTS
from benchmarks.suites import SCALING, SPEED, SUITES, Task
from ppo.compare.command import compare_runs
from ppo.compare.published import read_figures
from ppo.compare.tables import Rows

ROOT = Path(__file__).parents[1]
PAGES, TEMPLATES = ROOT / "docs" / "results", Path(__file__).parent / "templates"
FIRST = [
    "mujoco", "mujoco_3m", "held_out", "classic", "memory", "algorithms", "agents", "text", "pronounce", "molecules", "formulas",
    "frontier", "rlhf", "distillation", "critic_warmup", "demonstrations", "next_token", "q_learning", "speed", "speed_cuda", "scaling",
]  # fmt: skip
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)  # of README.md, from readme_NAME.md


@dataclass(frozen=True)
class Outcome:
    """A task of a suite, and the scores of its seeds in their order."""

    task: Task
    steps: int
    sampled: list[float]
    deterministic: list[float]
    start: list[list[float]]  # by policy, the scores of the runs that the seeds start from

    @property
    def scores(self) -> list[float]:
        """The scores of the policy that must reach the target."""
        return self.sampled if self.task.policy == "sampled" else self.deterministic

    @property
    def missed(self) -> bool:
        """Whether the mean over seeds is below the target, or a seed below what each must reach."""
        task, inf = self.task, float("inf")
        return statistics.fmean(self.scores) < (-inf if task.target is None else task.target) or min(self.scores) < (
            -inf if task.least is None else task.least
        )

    @property
    def goal(self) -> str:
        """The target in words, as in `≥ 490 deterministic`; empty if there is none."""
        policy = " deterministic" if self.task.policy == "deterministic" else ""
        least = "" if self.task.least is None else f", each seed ≥ {self.task.least:g}"
        return "" if self.task.target is None else f"≥ {self.task.target:g}{policy}{least}".replace("-", "−")


def outcomes(tasks: list[Task], results: list[dict[str, Any]]) -> dict[str, Outcome]:
    """Return by name the outcome of each task that has results."""
    done = {}
    for task in tasks:
        if seeds := sorted((row for row in results if row["task"] == task.name), key=lambda row: row["seed"]):
            starts = [list(policy) for policy in zip(*(row.get("start", ()) for row in seeds), strict=True)]
            sampled, deterministic = (
                [row[policy] for row in seeds if row[policy] is not None] for policy in ("sampled", "deterministic")
            )
            done[task.name] = Outcome(task, max(row["steps"] for row in seeds), sampled, deterministic, starts)
    return done


def digits(value: float) -> int:
    """Return after how many decimal places to round a score."""
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 20 else 2 if abs(value) > 1 else 3


def number(value: float, places: int | None = None) -> str:
    """Return a rounded number with a true minus sign."""
    return f"{value:.{digits(value) if places is None else places}f}".replace("-", "−")


def count(value: float) -> str:
    """Return a whole number with commas."""
    return f"{value:,.0f}".replace("-", "−")


def numbers(values: Iterable[float], places: int | None = None) -> str:
    """Return rounded numbers, one for each seed, or a dash without any."""
    return ", ".join(number(value, places) for value in values) or "–"


def spread(values: Iterable[float], places: int | None = None) -> str:
    """Return the mean over seeds, and ± the sample standard deviation if there are at least two; a dash without any."""
    values = list(values)
    if not values:
        return "–"
    mean = statistics.fmean(values)
    places = digits(mean) if places is None else places
    return (
        f"{number(mean, places)} ± {statistics.stdev(values):.{places}f}"
        if values[1:]
        else f"{number(mean, places)}, one seed"
    )


def reached(tasks: dict[str, Outcome]) -> str:
    """Return a sentence on the targets that are reached and on each that is missed."""
    aims = [row for row in tasks.values() if row.goal]
    misses = [f"{row.task.name} ({spread(row.scores)}, target {row.goal})" for row in aims if row.missed]
    sentence = f"{len(aims) - len(misses)} of {len(aims)} targets are reached"
    return f"{sentence}; missed: {'; '.join(misses)}" if misses else sentence


def ratios(rows: dict[str, Any]) -> dict[str, float]:
    """Return by row our steps per second as a multiple of the peer's."""
    return {name: sides["ours"]["sps"] / sides["peer"]["sps"] for name, sides in rows.items() if "peer" in sides}


def faster(rows: dict[str, Any]) -> str:
    """Return a sentence on the range of the ratios and on each below its target."""
    found = ratios(rows)
    misses = [
        f"{name} ({number(found[name], 2)}, target ≥ {SPEED[name]})"
        for name in SPEED
        if found.get(name, 9e9) < SPEED[name]
    ]
    words = f"{number(min(found.values()), 1)} to {number(max(found.values()), 1)} times"
    return f"{words} the steps per second of Stable-Baselines3{'; missed: ' if misses else ''}{'; '.join(misses)}"


def environment() -> Environment:
    """Return the environment of the templates; an unknown field is an error."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    jinja.filters |= {
        "number": number, "numbers": numbers, "count": count, "spread": spread, "mean": statistics.fmean,
        "median": statistics.median, "reached": reached, "ratios": ratios, "faster": faster,
    }  # fmt: skip
    jinja.globals |= {"zip": zip, "targets": SPEED | SCALING}
    return jinja


JINJA = environment()


def figures(folder: Path, name: str) -> dict[str, Any]:
    """Return the fields of a JSON file, for a suite also the outcomes of its `tasks` by name, and those `waiting` for results."""
    fields = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if name in SUITES:
        fields["tasks"] = outcomes(SUITES[name], fields["results"])
        fields["waiting"] = [task.name for task in SUITES[name] if task.name not in fields["tasks"]]
    return fields


@functools.cache
def compared(path: Path) -> list[tuple[str, Rows]]:
    """Return titles and tables of the verdicts of `ppo compare` on a file of curves."""
    return [
        (title, [tuple(re.sub(r"^-(?=\d)", "−", cell) for cell in row) for row in rows])
        for title, rows, _ in compare_runs([path]).summary()
    ]


def published() -> int:
    """Return the number of published points, in hundreds."""
    return sum(len(figure.steps) for figure in read_figures()) // 100 * 100


def render(name: str, folder: Path = RESULTS) -> str:
    """Return a page.

    Args:
        name: of its template, and of its JSON file if it has one.
        folder: with the JSON files.
    """
    fields = figures(folder, name) if (folder / f"{name}.json").is_file() else {}
    common = {
        "name": name, "figures": functools.partial(figures, folder), "pages": functools.partial(titles, folder),
        "compared": lambda curves=name: compared((folder / f"{curves}.csv").resolve()), "published": published,
    }  # fmt: skip
    return JINJA.get_template(f"{name}.md").render(fields | common)


def names() -> list[str]:
    """Return the names of the pages that have figures, those of `FIRST` first."""
    made = {path.stem for path in TEMPLATES.glob("*.md")} & {path.stem for path in RESULTS.glob("*.json")}
    return [*(name for name in FIRST if name in made), *sorted(made - {*FIRST})]


def titles(folder: Path) -> list[tuple[str, str, str]]:
    """Return the name, the title and the first paragraph of each page."""
    texts = {name: render(name, folder).split("\n\n", 2) for name in names()}
    return [(name, text[0].removeprefix("# "), text[1].replace("\n", " ")) for name, text in texts.items()]


def fill(text: str) -> str:
    """Return a text with each of its blocks, `<!-- NAME -->` to `<!-- /NAME -->`, filled by the template readme_NAME.md."""
    return BLOCK.sub(lambda block: f"{block[1]}{render(f'readme_{block[2]}')}{block[3]}", text)


def write() -> None:
    """Write every page, and the results in README.md."""
    PAGES.mkdir(exist_ok=True)
    for name in [*names(), "index"]:
        (PAGES / f"{name}.md").write_text(render(name), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
