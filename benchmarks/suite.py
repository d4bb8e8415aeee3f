"""Run a grid of tasks and seeds through the command line, and collect what came of it in benchmarks/results/.

    python -m benchmarks.suite mujoco --seeds 5 --jobs 2

A run that was cut off is resumed, one that is in the results is not repeated, as long as its settings, the preset's
included, are those of today. NAME.csv holds the curves, thinned, as `ppo compare` reads them; NAME.json and NAME.md what
each seed came to; NAME.png the curves beside published ones.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Literal

import torch
import tyro
from tyro.conf import Positional

from benchmarks.suites import SUITES, Task
from benchmarks.trained import RESULTS, digest, existing, markdown, meta_of, spread
from ppo.cli import main as cli
from ppo.compare.command import compare_runs
from ppo.compare.curves import Run, read_curves, read_run, write_curves
from ppo.compare.report import picture
from ppo.config import Config
from ppo.evaluate import evaluate

RUNS = Path("runs/suite")
POINTS = 40  # of a curve that is kept
EVALUATING = Lock()  # an evaluation draws from the process's generators


@dataclass(frozen=True)
class Result:
    """What one seed of a task came to: evaluations of the last checkpoint, mean returns or means of the task's metric."""

    task: str
    arguments: str
    settings: str  # digest of the arguments and the preset
    seed: int
    steps: int
    sampled: float
    deterministic: float
    episodes: int
    start: tuple[float, ...] = ()  # the same two of the run that it starts from


def run_one(suite: str, task: Task, settings: str, seed: int, episodes: int) -> tuple[Result, Run]:
    """Train one seed of a task, or go on where it was cut off, and evaluate its last checkpoint.

    Args:
        suite: its name.
        task: the task.
        settings: their digest, `settings_of(task)`; made by the caller, since arguments are parsed by one thread at a time.
        seed: seed of the run.
        episodes: episodes of the evaluation.
    """
    folder = RUNS / suite / f"{''.join(c if c.isalnum() else '_' for c in task.name)}-{settings}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"s{seed}.log"
    start = _finished(task.start, folder / "start", seed, log) if task.start else None
    path = _finished(f"train {task.arguments.format(start=start)}", folder, seed, log)
    with EVALUATING:
        sampled, deterministic = _scores(path, task.metric, episodes)
        begin = _scores(start, task.metric, episodes) if start else ()
    steps = meta_of(path)["global_step"]
    result = Result(task.name, task.arguments, settings, seed, steps, sampled, deterministic, episodes, begin)
    run = read_run(path)
    apart = {"task": task.name, "policy": dict(run.settings)["policy"]}  # what tells curves on one environment apart
    return result, replace(run, settings=tuple(apart.items()))


def _scores(path: Path, metric: str, episodes: int) -> tuple[float, ...]:
    """Return what the sampled and the deterministic policy score."""
    reports = (evaluate(path, episodes, deterministic) for deterministic in (False, True))
    return tuple(report.metric(metric) if metric else report.mean for report in reports)


def _finished(command: str, folder: Path, seed: int, log: Path) -> Path:
    """Return the run of a command: it is there, or goes on where it was cut off, or is made now."""
    if not existing(folder, "", seed):
        _ppo([*command.split(), "--seed", str(seed), "--threads", "1", "--runs-dir", str(folder)], log)
    run = existing(folder, "", seed)
    if run is None:
        raise SystemExit(f"`ppo {command}` was stopped; run the suite again to begin it anew")
    if not meta_of(run)["finished"]:
        _ppo(["resume", str(run)], log)
    return run


def settings_of(task: Task) -> str:
    """Return the digest of a task's settings. Its arguments stay the same when a preset changes; this does not."""
    return digest(
        parse(f"train {task.arguments}"), **({"start": task.start + digest(parse(task.start))} if task.start else {})
    )


def parse(command: str) -> Config:
    """Return a command's settings, but for the run that it starts from."""
    asked = cli.parse(command.replace("--init-from {start}", "").split())
    assert isinstance(asked, cli.LEARNING)
    return asked.settings


def _ppo(arguments: list[str], log: Path) -> None:
    with log.open("a") as output:
        subprocess.run([sys.executable, "-m", "ppo", *arguments], stdout=output, stderr=output, check=True)


def table(suite: str, results: list[Result]) -> str:
    """Return the results as a Markdown table: mean ± standard deviation over seeds of each seed's score."""
    head = ("task", "`ppo train`", "steps", "sampled", "deterministic", "each seed, sampled", "deterministic", "must reach",
            "published")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for task in SUITES[suite]:
        found = sorted((r for r in results if r.task == task.name), key=lambda r: r.seed)
        if not found:
            continue
        steps = f"{max(r.steps for r in found):,}"
        if starts := [r.start for r in found if r.start]:
            rows.append((f"{task.name}: its start", f"`ppo {task.start}`", "", *_columns(starts), "", ""))
        ends = [(r.sampled, r.deterministic) for r in found]
        rows.append((task.name, f"`{task.arguments}`", steps, *_columns(ends), task.target, task.published))
    return markdown(rows)


def _columns(scores: Sequence[tuple[float, ...]]) -> tuple[str, ...]:
    """Return the mean over seeds of the sampled and of the deterministic policy, then each seed's."""
    ways = [list(way) for way in zip(*scores, strict=True)]
    means = (spread(values, _digits(statistics.fmean(values))) for values in ways)
    each = (", ".join(f"{score:.{_digits(score)}f}" for score in values) for values in ways)
    return (*means, *each)


def _digits(value: float) -> int:
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 20 else 2 if abs(value) > 1 else 3


def write(suite: str, results: list[Result], command: str) -> None:
    """Write the results as JSON and as a table."""
    RESULTS.mkdir(exist_ok=True)
    ordered = sorted(results, key=lambda r: (r.task, r.seed))
    (RESULTS / f"{suite}.json").write_text(json.dumps([asdict(r) for r in ordered], indent=1) + "\n")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "gymnasium", "mujoco"))
    protocol = (
        f"The last checkpoint over {results[0].episodes} episodes, sampled and deterministic policy. ± is the sample standard deviation over seeds of each seed's mean. "
        f"Made by `{command}`; {versions}."
    )
    (RESULTS / f"{suite}.md").write_text(f"# {suite}\n\n{protocol}\n\n{table(suite, results)}")


def draw(suite: str) -> None:
    """Draw all curves of a suite beside the published ones."""
    result = compare_runs([RESULTS / f"{suite}.csv"])
    picture(list(result.panels.values()), "iqm").savefig(RESULTS / f"{suite}.png", dpi=110)


def main(
    suite: Positional[Literal["classic", "mujoco", "algorithms", "memory", "text", "ablation"]],
    seeds: int = 5,
    jobs: int = 2,
    episodes: int = 100,
    only: str = "",
) -> None:
    """Run a suite.

    Args:
        suite: the tasks to run; `benchmarks/suites.py` says what is in each.
        seeds: seeds 1 to this.
        jobs: runs side by side.
        episodes: episodes of the evaluation of each run.
        only: part of the names of the tasks to run; empty: all.
    """
    tasks = [(task, settings_of(task)) for task in SUITES[suite] if only in task.name]
    results, runs = _found(suite, {task.name: settings for task, settings in tasks})
    known = {(r.task, r.settings, r.seed, r.episodes) for r in results}
    grid = [(task, seed, settings) for seed in range(1, seeds + 1) for task, settings in tasks]
    todo = [
        (task, settings, seed) for task, seed, settings in grid if (task.name, settings, seed, episodes) not in known
    ]
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(jobs)
    try:
        for done in as_completed([pool.submit(run_one, suite, *which, episodes) for which in todo]):
            new, run = done.result()
            print(
                f"{new.task}, seed {new.seed}: sampled {new.sampled:.2f}, deterministic {new.deterministic:.2f}",
                flush=True,
            )
            results = [r for r in results if (r.task, r.seed) != (new.task, new.seed)] + [new]
            runs[_key(run)] = run
            write(suite, results, f"python -m benchmarks.suite {suite} --seeds {seeds} --episodes {episodes}")
            write_curves(RESULTS / f"{suite}.csv", [runs[key] for key in sorted(runs)], POINTS)
    finally:  # an interrupt reaches the runs as well, and they write a checkpoint; nothing begins after them
        pool.shutdown(cancel_futures=True)
    write(suite, results, f"python -m benchmarks.suite {suite} --seeds {seeds} --episodes {episodes}")
    draw(suite)


def _found(suite: str, today: dict[str, str]) -> tuple[list[Result], dict[tuple[str, str], Run]]:
    """Return results and their curves, but for those that a task to be run, by name, came to with other settings."""
    path, curves = RESULTS / f"{suite}.json", RESULTS / f"{suite}.csv"
    if not path.is_file():
        return [], {}
    tasks = {task.name for task in SUITES[suite]}
    rows = (Result(**row) for row in json.loads(path.read_text()))
    results = [r for r in rows if r.task in tasks and r.settings == today.get(r.task, r.settings)]
    kept = {(r.task, str(r.seed)) for r in results}
    old = read_curves(curves) if curves.is_file() else []
    return results, {_key(run): run for run in old if _key(run) in kept}


def _key(run: Run) -> tuple[str, str]:
    return dict(run.settings)["task"], run.seed


if __name__ == "__main__":
    tyro.cli(main)
