"""PPO from cloned demonstrations, and PPO alone: a task that PPO learns, and a sparse one that it does not.

    python -m benchmarks.demonstrations

Of HalfCheetah a run's own episodes are the demonstrations, with sampled actions; of MountainCarContinuous, cut after 130 steps,
those of the rule in examples/demonstrations.py. An interrupted run is resumed, and a finished one is not repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import pages
from benchmarks.runs import RESULTS, fill, finish, settings
from examples.demonstrations import STEPS, demonstrate
from ppo.cli.history import Table
from ppo.evaluation import evaluate
from ppo.recording import record
from ppo.supervised.pretrain import pretrain

RUNS = Path("runs/demonstrations")
EPISODES = 20  # of an evaluation


@dataclass(frozen=True)
class Setup:
    """A task: its settings besides the preset, how many episodes the clone learns, and from which return on it is learnt."""

    env_id: str
    episodes: int
    target: float
    alone: dict[str, Any]  # of PPO alone
    after: dict[str, Any]  # of PPO from the clone
    more: dict[str, Any]  # of all runs
    rule: Callable[[str, int], float] | None = (
        None  # writes that many episodes to a file; None: the run of PPO alone plays them
    )


SETUPS = {
    "HalfCheetah-v5": Setup(
        "HalfCheetah-v5", 20, 3000, {"total_timesteps": 300_000}, {"total_timesteps": 100_000},
        {"checkpoint_every": 8, "eval_episodes": 5},
    ),
    "MountainCarContinuous-v0, 130 steps": Setup(
        "MountainCarContinuous-v0", 10, 90, {"total_timesteps": 100_000}, {"total_timesteps": 100_000}, {"max_episode_steps": STEPS}, demonstrate,
    ),
}  # fmt: skip
CLONE = {"total_timesteps": 300_000, "eval_episodes": 0}  # rows that are learnt, at most


def reached(run: Path, target: float) -> int | None:
    """Return the steps at the first checkpoint whose evaluation reached a mean return; None if none did."""
    rows = [(step, row) for _, step, row in Table(run / "progress.csv").new_rows()]
    return next((step for step, row in rows if row.get("eval/episodic_return", -torch.inf) >= target), None)


def train(task: str, seed: int) -> list[dict[str, Any]]:
    """Train PPO alone, the clone, and PPO from the clone; return what they earn, and when PPO had learnt the task."""
    torch.set_num_threads(1)
    setup = SETUPS[task]
    make = partial(settings, setup.env_id, RUNS, seed=seed)
    alone = finish(make("alone", **setup.alone | setup.more))
    file = alone / "demonstrations.npz"
    if setup.rule:
        shown = setup.rule(str(file), setup.episodes)
    else:
        shown = record(alone, file, setup.episodes, deterministic=False, seed=seed).mean
    learn = partial(pretrain, demonstrations=str(file))
    clone = finish(make(f"clone-{alone.name}", **setup.more | CLONE), learn)
    after = finish(make("after", init_from=str(clone), **setup.after | setup.more))
    earned = {
        name: evaluate(run, EPISODES).mean for name, run in (("alone", alone), ("clone", clone), ("after", after))
    }
    steps = {f"{name}_steps": reached(run, setup.target) for name, run in (("alone", alone), ("after", after))}
    return [{"demonstrations": shown, "target": setup.target, "episodes": setup.episodes} | earned | steps]


def main(seeds: tuple[int, ...] = (1, 2, 3), jobs: int = 2) -> None:
    """Train the missing runs, and write figures after each, and the page.

    Args:
        seeds: of all runs.
        jobs: number of seeds at the same time.
    """
    cells = [{"task": task, "seed": seed} for task in SETUPS for seed in seeds]
    command = f"python -m benchmarks.demonstrations --seeds {' '.join(map(str, seeds))}"
    budgets = {
        task: {"alone": setup.alone["total_timesteps"], "after": setup.after["total_timesteps"]}
        for task, setup in SETUPS.items()
    }
    fill(RESULTS / "demonstrations.json", command, cells, train, jobs, budgets=budgets)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
