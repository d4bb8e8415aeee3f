"""Run a grid of tasks and seeds through the command line, and collect the results in benchmarks/results/.

    python -m benchmarks.suite mujoco --seeds 5 --jobs 2

An interrupted run is resumed. A run in the results is not repeated while its settings, with those of the preset, stay the
same. NAME.csv holds the curves, thinned, as `ppo compare` reads them; NAME.json holds each seed's scores; docs/results/NAME.png
shows the curves and published ones; `benchmarks.pages` writes docs/results/NAME.md.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Literal

import torch
import tyro
from tyro.conf import Positional

from benchmarks import pages
from benchmarks.pages import PAGES
from benchmarks.runs import RESULTS, digest, meta_of, newest_run, plain, save, today, versions
from benchmarks.suites import SUITES, Task
from ppo.cli import main as cli
from ppo.compare.command import compare_runs
from ppo.compare.curves import Run, read_curves, write_curves
from ppo.compare.logs import read_run
from ppo.compare.report import picture
from ppo.config import Config
from ppo.evaluation import evaluate

RUNS = Path("runs/suite")
POINTS = 40  # of a curve in NAME.csv
PAUSE = 1.0  # seconds between two looks at a run
EVALUATING = Lock()  # an evaluation draws from the process's generators


@dataclass(frozen=True)
class Result:
    """The scores of one seed of a task: evaluations of the last checkpoint, mean returns or means of the task's metric."""

    task: str
    arguments: str
    settings: str  # digest of the arguments and the preset
    seed: int
    steps: int
    sampled: float
    deterministic: float | None  # None: not evaluated
    episodes: int
    date: str
    versions: str  # of the packages
    start: tuple[float | None, ...] = ()  # sampled and deterministic score of the run that it starts from


def run_one(suite: str, task: Task, settings: str, seed: int, episodes: int) -> tuple[Result, Run]:
    """Train or resume one seed of a task, and evaluate its last checkpoint.

    Args:
        suite: its name.
        task: the task.
        settings: their digest, `settings_of(task)`; made by the caller, since arguments are parsed by one thread at a time.
        seed: seed of the run.
        episodes: episodes of the evaluation.
    """
    folder = RUNS / suite / f"{plain(task.name)}-{settings}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"s{seed}.log"
    start = _finish(task.start, folder / "start", seed, log) if task.start else None
    path = _finish(f"train {task.arguments.format(start=start)}", folder, seed, log, task.until)
    with EVALUATING:
        sampled, deterministic = _scores(path, task, episodes)
        begin = _scores(start, task, episodes) if start else ()
    steps = meta_of(path)["global_step"]
    made = (today(), versions())
    result = Result(task.name, task.arguments, settings, seed, steps, sampled, deterministic, episodes, *made, begin)
    run = read_run(path)
    labels = {"task": task.name, "policy": dict(run.settings)["policy"]}  # they distinguish curves on one environment
    return result, replace(run, settings=tuple(labels.items()))


def _scores(path: Path, task: Task, episodes: int) -> tuple[float, float | None]:
    """Return the scores of the sampled and of the deterministic policy."""
    policies = (False,) if task.sampled_only else (False, True)
    reports = (evaluate(path, episodes, deterministic) for deterministic in policies)
    scores = [report.metric(task.metric) if task.metric else report.mean for report in reports]
    return scores[0], None if task.sampled_only else scores[1]


def _finish(command: str, folder: Path, seed: int, log: Path, until: int = 0) -> Path:
    """Return the run of a command, finished or at `until` steps: take it, resume it if it was interrupted, or make it."""

    def enough() -> bool:
        return 0 < until <= steps_of(folder, seed)

    if not newest_run(folder, "", seed):
        _ppo([*command.split(), "--seed", str(seed), "--threads", "1", "--runs-dir", str(folder)], log, enough)
    run = newest_run(folder, "", seed)
    if run is None:
        raise SystemExit(f"`ppo {command}` was interrupted; start the suite again to repeat it")
    if not meta_of(run)["finished"] and not enough():
        _ppo(["resume", str(run)], log, enough)
    if not meta_of(run)["finished"] and not enough():
        raise SystemExit(f"`ppo {command}` was interrupted again; start the suite again to resume it")
    return run


def steps_of(folder: Path, seed: int) -> int:
    """Return the steps in the table of the newest run of a seed; 0 if there is none."""
    paths = (path for name in (f"*__s{seed}", f"*__s{seed}__*") for path in folder.glob(f"{name}/progress.csv"))
    tables = sorted(paths, key=lambda path: path.stat().st_mtime)
    rows = tables[-1].read_bytes().split(b"\n")[1:-1] if tables else []  # whole lines
    return int(rows[-1].split(b",")[1]) if rows else 0


def settings_of(task: Task) -> str:
    """Return the digest of a task's settings. Its arguments stay the same when a preset changes; this does not."""
    return digest(
        parse(f"train {task.arguments}"), **({"start": task.start + digest(parse(task.start))} if task.start else {})
    )


def parse(command: str) -> Config:
    """Return a command's settings, without the run that it starts from."""
    arguments = cli.parse(command.replace("--init-from {start}", "").split())
    assert isinstance(arguments, cli.LEARNING)
    return arguments.settings


def _ppo(arguments: list[str], log: Path, enough: Callable[[], bool] = lambda: False) -> None:
    """Run a command, and end it with a checkpoint when it has trained enough."""
    told = False
    with log.open("a") as output:
        process = subprocess.Popen([sys.executable, "-m", "ppo", *arguments], stdout=output, stderr=output)
        while process.poll() is None:
            time.sleep(PAUSE)
            if enough() and not told:
                process.terminate()
                told = True
    if process.returncode and not told:
        raise subprocess.CalledProcessError(process.returncode, process.args)


def write(suite: str, results: list[Result], command: str) -> None:
    """Write the results as JSON, with the range of their dates."""
    ordered = sorted(results, key=lambda r: (r.task, r.seed))
    dates, packages = ({getattr(r, name) for r in ordered} for name in ("date", "versions"))
    made = {"date": " to ".join(sorted({min(dates), max(dates)})), "versions": "; ".join(sorted(packages))}
    save(RESULTS / f"{suite}.json", command, [asdict(r) for r in ordered], **made)


def draw(suite: str) -> None:
    """Draw all curves of a suite together with the published ones."""
    result = compare_runs([RESULTS / f"{suite}.csv"])
    picture(list(result.panels.values()), "iqm").savefig(PAGES / f"{suite}.png", dpi=110, bbox_inches="tight")


def main(
    suite: Positional[Literal[*SUITES]],  # type: ignore[valid-type]
    seeds: int = 5,
    jobs: int = 2,
    episodes: int = 100,
    only: str = "",
) -> None:
    """Run a suite.

    Args:
        suite: the tasks to run; `benchmarks/suites.py` lists them.
        seeds: number of seeds; they count from 1.
        jobs: number of runs at the same time.
        episodes: episodes of the evaluation of each run.
        only: run only the tasks whose name contains this. Empty: all.
    """
    tasks = [(task, settings_of(task)) for task in SUITES[suite] if only in task.name]
    results, runs = _known(suite, {task.name: settings for task, settings in tasks})
    known = {(r.task, r.settings, r.seed, r.episodes) for r in results}
    grid = [(task, seed, settings) for seed in range(1, seeds + 1) for task, settings in tasks]
    todo = [
        (task, settings, seed) for task, seed, settings in grid if (task.name, settings, seed, episodes) not in known
    ]
    command = f"python -m benchmarks.suite {suite} --seeds {seeds} --episodes {episodes}"
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(jobs)
    try:
        for job in as_completed([pool.submit(run_one, suite, *arguments, episodes) for arguments in todo]):
            new, run = job.result()
            scores = " and ".join(f"{x:.2f}" for x in (new.sampled, new.deterministic) if x is not None)
            print(f"{new.task}, seed {new.seed}: {scores}", flush=True)
            results = [r for r in results if (r.task, r.seed) != (new.task, new.seed)] + [new]
            runs[key_of(run)] = run
            write(suite, results, command)
            write_curves(RESULTS / f"{suite}.csv", [runs[key] for key in sorted(runs)], POINTS)
    finally:  # an interrupt reaches the runs too, and they write a checkpoint; no other run begins
        pool.shutdown(cancel_futures=True)
    write(suite, results, command)
    draw(suite)
    pages.write()


def _known(suite: str, digests: dict[str, str]) -> tuple[list[Result], dict[tuple[str, str], Run]]:
    """Return the results and their curves, without those that a task in `digests` reached with other settings."""
    path, curves = RESULTS / f"{suite}.json", RESULTS / f"{suite}.csv"
    if not path.is_file():
        return [], {}
    tasks = {task.name for task in SUITES[suite]}
    rows = (Result(**row) for row in json.loads(path.read_text())["results"])
    results = [r for r in rows if r.task in tasks and r.settings == digests.get(r.task, r.settings)]
    keys = {(r.task, str(r.seed)) for r in results}
    old = read_curves(curves) if curves.is_file() else []
    return results, {key_of(run): run for run in old if key_of(run) in keys}


def key_of(run: Run) -> tuple[str, str]:
    """Return the task and the seed of a curve."""
    return dict(run.settings)["task"], run.seed


if __name__ == "__main__":
    tyro.cli(main)
