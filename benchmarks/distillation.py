"""Distillation: a student with about a quarter of its teacher's parameters, on its own samples or on the teacher's.

    python -m benchmarks.distillation

PPO trains a teacher. A smaller student learns from it twice: by the divergence at the states that the student itself visits (`ppo train
--algorithm distill`), and by likelihood on sequences that the teacher wrote (`ppo pretrain`), as many tokens, each seen as often.
An interrupted run is resumed, and a finished one is not repeated.
"""

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import pages
from benchmarks.runs import RESULTS, fill, finish, settings
from ppo.evaluation import evaluate
from ppo.loop.trainer import Trainer
from ppo.run.load import load
from ppo.sampling import sample
from ppo.supervised.pretrain import PretrainResult, pretrain
from ppo.text import TokenEnv

RUNS = Path("runs/distillation")
TOKENS, PASSES = 300_000, 4  # that a student learns from, and how often it sees each
EPISODES = 1000  # of an evaluation
STUDENT = {"hidden_sizes": [32], "num_layers": 2}
TEACHERS: dict[str, dict[str, Any]] = {  # settings besides the preset
    "text/Reverse-v0": {
        "learning_rate": 2e-3, "total_timesteps": 2_000_000, "checkpoint_every": 20, "eval_episodes": 100,
        "stop_at": "eval/solved >= 0.999",
    },
    "text/Dialogue-v0": {},
}  # fmt: skip
# The dialogue's preset has a tenth of this learning rate, for PPO from a clone.
LIKELIHOOD = {"learning_rate": 1e-3, "eval_episodes": 0}
CLONE = LIKELIHOOD | {"total_timesteps": 300_000}  # that the dialogue's teacher starts from


def clone_of(seed: int) -> Path:
    """Return the run from which the teacher of the dialogue starts."""
    return finish(settings("text/Dialogue-v0", RUNS, "clone", seed, **CLONE), pretrain)


def teacher_of(env_id: str, seed: int) -> Path:
    """Return the run of a teacher."""
    more = TEACHERS[env_id]
    if env_id == "text/Dialogue-v0":
        more = more | {"init_from": str(clone_of(seed))}
    return finish(settings(env_id, RUNS, "teacher", seed, **more))


def imitate(trainer: Trainer, teacher: Path) -> PretrainResult:
    """Train by likelihood on the teacher's samples; every tenth of them is held out."""
    env, tokens, written = trainer.envs.unwrapped, 0, []
    assert isinstance(env, TokenEnv)
    for n in count():
        for completion, _ in sample(teacher, 1000, seed=1000 * n + trainer.config.seed):
            written.append((completion.prompt, *completion.turns))
            tokens += sum(map(len, completion.turn_ids[::2])) + len(completion.turn_ids[::2])
        if tokens >= TOKENS / 0.9:
            break
    env.task = replace(env.task, demonstrate=written)
    return pretrain(trainer, patience=0)


def train(task: str, seed: int) -> list[dict[str, Any]]:
    """Train a teacher and both students; return what share of episodes their most probable tokens solve.

    The student by likelihood learns the teacher's samples; `parameters` are those of a student, by those of the teacher.
    """
    torch.set_num_threads(1)
    teacher = teacher_of(task, seed)
    student = settings(
        task, RUNS, "student", seed, algorithm="distill", reference=str(teacher), total_timesteps=TOKENS, **STUDENT
    )
    likelihood = settings(
        task, RUNS, f"likelihood-{teacher.name}", seed, total_timesteps=TOKENS * PASSES, **LIKELIHOOD, **STUDENT
    )
    runs = {
        "teacher": teacher,
        "student": finish(student),
        "likelihood": finish(likelihood, partial(imitate, teacher=teacher)),
    }
    sizes = {name: sum(p.numel() for p in load(run).policy.parameters()) for name, run in runs.items()}
    solved = {name: evaluate(run, EPISODES, deterministic=True).metric("solved") for name, run in runs.items()}
    return [solved | {"parameters": sizes["student"] / sizes["teacher"]}]


def main(seeds: tuple[int, ...] = (1, 2, 3), jobs: int = 2, only: str = "") -> None:
    """Train the missing runs, and write figures after each, and the page.

    Args:
        seeds: of teachers and students.
        jobs: number of seeds at the same time.
        only: run only the tasks whose name contains this. Empty: all.
    """
    cells = [{"task": task, "seed": seed} for task in TEACHERS if only in task for seed in seeds]
    command = (
        f"python -m benchmarks.distillation --seeds {' '.join(map(str, seeds))}{f' --only {only}' if only else ''}"
    )
    fill(RESULTS / "distillation.json", command, cells, train, jobs, tokens=TOKENS, passes=PASSES)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
