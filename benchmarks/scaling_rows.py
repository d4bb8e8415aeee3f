"""Measure steps per second of whole training runs on one rank, on two, and in two runs at the same time.

    torchrun --nproc-per-node 2 -m benchmarks.scaling_rows --row '{"env_id": "HalfCheetah-v5"}' --seconds 10

It prints JSON: when each iteration ended, and where rank 0's time went.
"""

import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tyro

from ppo import Config, Trainer, preset
from ppo.machine.distributed import from_first, join, rank, size
from ppo.run.logger import Progress

ROOT = Path(__file__).parents[1]
WARMUP, LEAST = 3, 5  # iterations that do not count, and the least number that do
SYNC = {"vectorization": "sync"}
# Eight environments, rollouts of 128 steps, four epochs of four minibatches: as published for Atari (Schulman et al. 2017).
ATARI = SYNC | {"num_envs": 8, "num_steps": 128, "update_epochs": 4, "num_minibatches": 4, "learning_rate": 2.5e-4}


@dataclass(frozen=True)
class Row:
    """A training run: changes to a preset."""

    env_id: str
    settings: dict[str, Any] = field(default_factory=dict)
    policy: str = "auto"

    @property
    def config(self) -> Config:
        """The settings, of a run without an end."""
        endless = {"total_timesteps": 10**12, "checkpoint_every": 10**9, "eval_episodes": 0, "anneal_lr": False}
        return preset(self.env_id, policy=self.policy).replace(
            {"compile": "on", "threads": 1} | endless | self.settings
        )


ROWS = {
    "Humanoid-v5, preset": Row("Humanoid-v5", SYNC),
    "HalfCheetah-v5, preset": Row("HalfCheetah-v5", SYNC),
    "CNN, images of 84 × 84 × 4": Row("benchmarks.tasks:Images-v0", ATARI, "cnn"),
    "CartPole, velocities hidden, GRU": Row("benchmarks.tasks:CartPoleHidden-v0", SYNC, "gru"),
    "CartPole-v1, preset": Row("CartPole-v1"),
    "text/Reverse-v0, preset": Row("text/Reverse-v0"),
}


def measure(row: Row, seconds: float) -> dict[str, Any]:
    """Train for some seconds after the warm-up, on all ranks, and return what rank 0 measured."""
    ends: list[tuple[float, int]] = []  # of iterations: the time, and the steps so far
    split: list[dict[str, float]] = []
    join()
    with tempfile.TemporaryDirectory() as own, Trainer(row.config.replace({"runs_dir": from_first(own)})) as trainer:

        def report(progress: Progress) -> None:
            ends.append((time.time(), progress.global_step))
            split.append({name[5:]: x for name, x in progress.row.items() if name.startswith("time/")})
            if rank() == 0 and len(ends) >= WARMUP + LEAST and ends[-1][0] - ends[WARMUP - 1][0] > seconds:
                trainer.stop()

        trainer.train(report)
        from_first(None)  # rank 0 has written its last file
        config, learner, collector = trainer.config, trainer.learner, trainer.collector
        rollout = collector.collect(config.num_steps)[0]
    return {
        "ends": ends[WARMUP - 1 :],
        "seconds": parts_of([end for end, _ in ends[WARMUP - 1 :]], split[WARMUP:]),
        "shared": learner.shares,
        "parameters": len(learner.policy.vector),
        "optimizer_steps": config.update_epochs * config.num_minibatches,
        "sequences": config.batch_size // learner.seq_len // config.num_minibatches,
        "seq_len": learner.seq_len,
        "num_envs": config.num_envs,
        "rollout_bytes": size() * len(pickle.dumps(rollout)),
    }


def parts_of(ends: list[float], split: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean seconds of an iteration's parts: collecting, the update, and the rest (gathering, waiting, logs)."""
    sums: Counter[str] = Counter()
    for parts in split:
        sums.update(parts)
    means = {name: sums[name] / len(split) for name in ("environment", "inference", "update")}
    return means | {"rest": (ends[-1] - ends[0]) / len(split) - sum(means.values())}


def rate(ends: list[list[float]], begin: float, end: float) -> float:
    """Return steps per second between two times, with the steps of an iteration spread evenly over its time."""
    import numpy as np

    times, steps = np.asarray(ends).T
    first, last = np.interp([begin, end], times, steps)
    return float(last - first) / (end - begin)


def launcher(ranks: int) -> list[str]:
    """Return the beginning of a command that runs a module on several ranks; `-m`, its name and its arguments follow."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return [sys.executable, *(several if ranks > 1 else [])]


def start(row: Row, ranks: int, seconds: float) -> "subprocess.Popen[str]":
    """Start the measurement of a row."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [
        *launcher(ranks),
        "-m",
        "benchmarks.scaling_rows",
        "--row",
        json.dumps(asdict(row)),
        "--seconds",
        str(seconds),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return what a measurement printed."""
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a measurement ended with exit code {process.returncode}; its error is above")
    return json.loads(output.splitlines()[-1])


def own_rate(found: dict[str, Any]) -> float:
    """Return a run's steps per second after its warm-up."""
    return rate(found["ends"], found["ends"][0][0], found["ends"][-1][0])


def pair(found: list[dict[str, Any]]) -> float:
    """Return the steps per second of two runs together, while both trained."""
    begin, end = max(one["ends"][0][0] for one in found), min(one["ends"][-1][0] for one in found)
    if end - begin < (found[0]["ends"][-1][0] - found[0]["ends"][0][0]) / 3:
        raise SystemExit("two runs at the same time did not overlap; repeat the measurement")
    return sum(rate(one["ends"], begin, end) for one in found)


def compare(row: Row, rounds: int, seconds: float) -> dict[str, Any]:
    """Return a row's steps per second on one rank, on two, and in two independent runs at the same time, in turn."""
    rates: dict[str, list[float]] = {"one": [], "two": [], "pair": []}
    split: dict[str, list[dict[str, float]]] = {"one": [], "two": []}
    sizes: dict[str, Any] = {}
    result(start(row, 1, 0))  # fills the cache of compiled functions
    result(start(row, 2, 0))
    for _ in range(rounds):
        for side, ranks in (("one", 1), ("two", 2)):
            found = result(start(row, ranks, seconds))
            rates[side].append(own_rate(found))
            split[side].append(found["seconds"])
            sizes |= {key: found[key] for key in found.keys() - {"ends", "seconds"}}
        both = [start(row, 1, seconds) for _ in range(2)]
        rates["pair"].append(pair([result(process) for process in both]))
        print(
            f"{row.env_id}: {', '.join(f'{side} {values[-1]:,.0f}' for side, values in rates.items())} steps/s",
            flush=True,
        )
    medians = {
        side: {part: statistics.median(parts[part] for parts in several) for part in several[0]}
        for side, several in split.items()
    }
    return {"rates": rates, "seconds": medians, **sizes}


def main(row: str, seconds: float) -> None:
    """Measure a row on the ranks that torchrun has started, and print the figures as JSON.

    Args:
        row: the row as JSON.
        seconds: of training that count.
    """
    found = measure(Row(**json.loads(row)), seconds)
    if rank() == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    tyro.cli(main)
