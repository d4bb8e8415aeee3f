"""Run a grid of tasks and seeds through the command line, and collect what came of it in benchmarks/results/.

    python -m benchmarks.suite evidence --seeds 3 --jobs 2

A run that was cut off is resumed, one that is done is not repeated; delete its folder under runs/suite/ to repeat it.
"""

import json
import math
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from tyro.conf import Positional

from ppo.checkpoint import read_checkpoint
from ppo.config import Config
from ppo.evaluate import evaluate

RUNS = Path("runs/suite")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Task:
    """One row of a suite: a name, the arguments of `ppo train`, and what its evaluation must reach on every seed."""

    name: str
    arguments: str
    target: str
    published: str = ""


# With the general settings one seed of three misnames one cue; entropy and a larger step mend it.
RECALL = "benchmarks.tasks:Recall-v0 --total-timesteps 300000 --learning-rate 1e-3 --ent-coef 0.01"
HIDDEN = "benchmarks.tasks:CartPoleHidden-v0 --total-timesteps 300000"
SUITES: dict[str, list[Task]] = {
    "evidence": [
        Task("CartPole-v1", "CartPole-v1", "= 500", "zoo 500"),
        Task("Acrobot-v1", "Acrobot-v1", "≥ −85", "CleanRL −86, zoo −73.5 at 1M"),
        Task("MountainCar-v0", "MountainCar-v0", "≥ −115", "CleanRL −200, zoo −110"),
        Task("Pendulum-v1", "Pendulum-v1", "≥ −200", "zoo −172 at 100k"),
        Task("LunarLander-v3", "LunarLander-v3", "≥ 240", "zoo 242 (v2)"),
        Task("HalfCheetah-v5", "HalfCheetah-v5", "≥ 2900", "best on v4/v5: 2906 ± 1129"),
        Task("CartPole, velocities hidden, GRU", f"{HIDDEN} --policy gru", "≥ 490", "zoo LSTM 500"),
        Task("CartPole, velocities hidden, MLP", f"{HIDDEN} --policy mlp", "fails"),
        Task("Recall, GRU", f"{RECALL} --policy gru", "= 1"),
        Task("Recall, MLP", f"{RECALL} --policy mlp", "chance, 0.25"),
        Task("CartPole-v1, A2C", "CartPole-v1 --algorithm a2c --total-timesteps 500000", "≥ 475"),
        Task("CartPole-v1, REINFORCE", "CartPole-v1 --algorithm reinforce --total-timesteps 500000", "≥ 400"),
    ]
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one seed of a task came to: a deterministic evaluation of the last checkpoint."""

    task: str
    arguments: str
    seed: int
    steps: int
    mean: float
    std: float
    episodes: int


def run_one(suite: str, task: Task, seed: int, episodes: int) -> Result:
    """Train one seed of a task, or go on where it was cut off, and evaluate its last checkpoint."""
    folder = RUNS / suite / "".join(c if c.isalnum() else "_" for c in task.name)
    folder.mkdir(parents=True, exist_ok=True)
    log, pattern = folder / f"s{seed}.log", f"*__s{seed}*/checkpoints/latest.safetensors"
    if not list(folder.glob(pattern)):
        _ppo(["train", *task.arguments.split(), "--seed", str(seed), "--runs-dir", str(folder)], log)
    run = sorted(folder.glob(pattern))[-1].parents[1]
    _, meta = read_checkpoint(run / "checkpoints" / "latest.safetensors")
    config = Config().replace(meta["config"])
    if meta["global_step"] + config.batch_size <= config.total_timesteps:
        _ppo(["resume", str(run)], log)
    report = evaluate(run, episodes)
    returns = [episode.episode_return for episode in report.episodes]
    steps = int((run / "progress.csv").read_text().splitlines()[-1].split(",")[1])
    return Result(task.name, task.arguments, seed, steps, report.mean, statistics.pstdev(returns), episodes)


def _ppo(arguments: list[str], log: Path) -> None:
    with log.open("a") as output:
        subprocess.run([sys.executable, "-m", "ppo", *arguments], stdout=output, stderr=output, check=True)


def table(suite: str, results: list[Result]) -> str:
    """Return the results as a Markdown table: mean ± standard deviation over seeds of each seed's mean return."""
    head = ("task", "`ppo train`", "steps", "return", "each seed", "must reach", "published")
    rows = [head, ("---",) * len(head)]
    for task in SUITES[suite]:
        found = sorted((r for r in results if r.task == task.name), key=lambda r: r.seed)
        if not found:
            continue
        means = [r.mean for r in found]
        deviation = statistics.stdev(means) if len(means) > 1 else math.nan
        spread = f"{statistics.fmean(means):.2f} ± {deviation:.2f}"
        each, steps = ", ".join(f"{mean:.2f}" for mean in means), f"{max(r.steps for r in found):,}"
        rows.append((task.name, f"`{task.arguments}`", steps, spread, each, task.target, task.published))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(suite: str, results: list[Result], command: str) -> None:
    """Write the results as JSON and as a table."""
    RESULTS.mkdir(exist_ok=True)
    ordered = sorted(results, key=lambda r: (r.task, r.seed))
    (RESULTS / f"{suite}.json").write_text(json.dumps([asdict(r) for r in ordered], indent=1) + "\n")
    protocol = (
        f"Deterministic policy of the last checkpoint, {results[0].episodes} episodes a seed; ± is the sample "
        f"standard deviation over seeds of each seed's mean. Made by `{command}`."
    )
    (RESULTS / f"{suite}.md").write_text(f"# {suite}\n\n{protocol}\n\n{table(suite, results)}")


def main(suite: Positional[str], seeds: int = 3, jobs: int = 2, episodes: int = 100, only: str = "") -> None:
    """Run a suite.

    Args:
        suite: name of the suite.
        seeds: seeds 1 to this.
        jobs: runs side by side.
        episodes: episodes of the evaluation of each run.
        only: part of the names of the tasks to run; empty: all.
    """
    path = RESULTS / f"{suite}.json"
    results = [Result(**row) for row in json.loads(path.read_text())] if path.is_file() else []
    known = {(r.task, r.arguments, r.seed, r.episodes) for r in results}
    grid = [(task, seed) for seed in range(1, seeds + 1) for task in SUITES[suite] if only in task.name]
    todo = [(task, seed) for task, seed in grid if (task.name, task.arguments, seed, episodes) not in known]
    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(run_one, suite, task, seed, episodes) for task, seed in todo]):
            new = done.result()
            print(f"{new.task}, seed {new.seed}: {new.mean:.2f} ± {new.std:.2f} over {episodes} episodes", flush=True)
            results = [r for r in results if (r.task, r.seed) != (new.task, new.seed)] + [new]
            write(suite, results, f"python -m benchmarks.suite {suite} --seeds {seeds} --episodes {episodes}")


if __name__ == "__main__":
    tyro.cli(main)
