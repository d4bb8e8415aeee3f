"""Critic warm-up: PPO from a clone whose critic knows nothing, with and without iterations in which only the critic learns.

    python -m benchmarks.critic_warmup

Each run goes on from a policy that has learnt by likelihood, and ends after a part of its budget. Its return is that of the sampled
policy: of the clone, in the worst iteration, and at the end.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import distillation, molecules, pages, pronounce
from benchmarks.runs import RESULTS, fill, plain, settings
from ppo import Trainer


@dataclass(frozen=True)
class Task:
    """An environment, the clone to start from, the settings of PPO besides its preset, and the iterations of a warm-up."""

    env_id: str
    clone: Callable[[int], Path]  # of a seed
    more: dict[str, Any]
    near: bool  # there is a KL penalty to the clone
    warmup: int


DIALOGUE = "text/Dialogue-v0"
SHORT = {"eval_episodes": 0, "total_timesteps": 1_000_000}
TASKS = {
    "pronunciation, GRU": Task(pronounce.ENV, lambda seed: pronounce.clone_of("GRU", seed), pronounce.PPO, True, 8),
    "QED of molecules, GRU": Task(
        molecules.ENV, molecules.language_model, molecules.PPO | {"env_kwargs": {"reward": "qed"}}, True, 8
    ),
    "dialogue, transformer": Task(DIALOGUE, distillation.clone_of, SHORT, False, 8),
    "dialogue, without a target KL": Task(DIALOGUE, distillation.clone_of, SHORT | {"target_kl": 0.0}, False, 8),
}
STEPS = 400_000  # after which a run ends
RUNS = Path("runs/critic_warmup")


def measure(task: str, seed: int) -> list[dict[str, Any]]:
    """Train without and with the warm-up from one clone, and return a row for each."""
    torch.set_num_threads(1)
    setup = TASKS[task]
    clone = str(setup.clone(seed))
    return [{"warmup": warmup, **train(task, clone, warmup, seed)} for warmup in (0, setup.warmup)]


def train(task: str, clone: str, warmup: int, seed: int) -> dict[str, float]:
    """Train, and return the mean return of the clone's first rollout, of the worst, and of the last tenth."""
    setup = TASKS[task]
    near = {"init_from": clone} | ({"reference": clone} if setup.near else {})
    name = plain(f"{task}_{warmup}")
    returns = []
    with Trainer(settings(setup.env_id, RUNS, name, seed, **setup.more | near | {"critic_warmup": warmup})) as trainer:
        for progress in trainer.iterations():
            if not math.isnan(value := progress.row["charts/episodic_return"]):
                returns.append(value)
            if progress.global_step >= STEPS:
                break
    last = max(1, len(returns) // 10)
    return {"first": returns[0], "worst": min(returns), "last": statistics.fmean(returns[-last:])}


def main(seeds: int = 3, jobs: int = 2, only: str = "") -> None:
    """Train the missing runs, and write figures after each, and the page.

    Args:
        seeds: number of seeds; they count from 1.
        jobs: number of runs at the same time.
        only: run only the tasks whose name contains this. Empty: all.
    """
    cells = [{"task": name, "seed": seed} for name in TASKS if only in name for seed in range(1, seeds + 1)]
    command = f"python -m benchmarks.critic_warmup --seeds {seeds}{f' --only {only}' if only else ''}"
    fill(RESULTS / "critic_warmup.json", command, cells, measure, jobs, steps=STEPS)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
