"""Molecules: PPO toward drug-likeness and toward celecoxib, near a GRU that has learnt the SMILES of MOSES.

    python -m benchmarks.molecules

A GRU is pretrained on an eighth of MOSES. PPO then raises the QED of its molecules, also with whole scores for repeats, and their similarity to
celecoxib, with a KL penalty to the GRU. Of each policy's samples: the shares that are molecules, distinct and not in the training
set, their internal diversity, the mean score, and the mean of the 100 best molecules of the whole training.
"""

import csv
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks import pages
from benchmarks.runs import RESULTS, fill, finish, plain, settings
from ppo.sampling import best, sample
from ppo.supervised.pretrain import pretrain
from ppo.text.tasks import chemistry, molecules

ENV = "text/Molecules-v0"
DATA: dict[str, Any] = {}  # further arguments of the environment
LIKELIHOOD = {"learning_rate": 2e-3, "total_timesteps": 6_000_000}
PPO = {"kl_coef": 0.01, "critic_warmup": 2, "eval_episodes": 0, "total_timesteps": 1_000_000}
AIMS: dict[str, dict[str, Any]] = {
    "QED": {"reward": "qed"},
    "QED, whole for repeats": {"reward": "qed", "divide_repeats": False},
    "similarity to celecoxib": {"reward": "similarity"},
}
SAMPLES, BATCH, BEST = 2000, 1000, 100
RUNS = Path("runs/molecules")


def language_model(seed: int) -> Path:
    """Return the run of pretraining."""
    return finish(settings(ENV, RUNS, "likelihood", seed, env_kwargs=DATA, **LIKELIHOOD), pretrain)


def train(aim: str, seed: int) -> dict[str, Path]:
    """Return the runs of an aim, by method: the language model, and PPO from it."""
    clone = language_model(seed)
    near = {"init_from": str(clone), "reference": str(clone), "env_kwargs": DATA | AIMS[aim]}
    return {"language model": clone, "PPO": finish(settings(ENV, RUNS, plain(aim), seed, **near | PPO))}


def figures(texts: list[str], judge: chemistry.Judge, known: frozenset[str]) -> dict[str, float]:
    """Return the figures of samples; "" is one without an end.

    Uniqueness is the share of distinct molecules among the valid ones, novelty that of these outside the training set. Internal
    diversity is 1 minus the mean Tanimoto similarity of two valid molecules, as in MOSES (Polykovskiy et al. 2020). The score is the mean over all
    samples, 0 for those that are not molecules.
    """
    judged = [judge(text) for text in texts]
    valid = [canonical for canonical, _ in judged if canonical]
    distinct = set(valid)
    return {
        "validity": len(valid) / len(texts), "uniqueness": len(distinct) / max(1, len(valid)),
        "novelty": len(distinct - known) / max(1, len(distinct)), "diversity": chemistry.diversity(valid),
        "score": statistics.fmean(score for _, score in judged),
    }  # fmt: skip


def top(run: Path, judge: chemistry.Judge) -> float:
    """Return the mean score of the best distinct molecules of a training."""
    scores = dict(judge(line["response"]) for line in best(run, BEST))
    return float(np.mean(sorted(scores.values())[-BEST:]))


def measure(aim: str, seed: int) -> list[dict[str, Any]]:
    """Train for an aim, and return a row for each method."""
    torch.set_num_threads(1)
    runs, rows = train(aim, seed), list[dict[str, Any]]()
    judge, known = chemistry.judge(AIMS[aim]["reward"], "celecoxib"), frozenset(molecules.read(DATA.get("smiles", "")))
    for method, run in runs.items():
        completions = [c for n in range(SAMPLES // BATCH) for c, _ in sample(run, BATCH, seed=n)]
        row = figures([c.response if c.ended else "" for c in completions], judge, known)
        more = {"top": top(run, judge), "kl": last(run, "reference/kl_episode")} if method == "PPO" else {}
        rows.append({"method": method, **row, **more})
    return rows


def last(run: Path, column: str, rows: int = 10) -> float:
    """Return the mean of a column over the last rows of a run's table."""
    with (run / "progress.csv").open(encoding="utf-8") as file:
        return statistics.fmean(float(row[column]) for row in list(csv.DictReader(file))[-rows:])


def main(seeds: int = 3, jobs: int = 2) -> None:
    """Train the missing runs, and write figures after each, and the page.

    Args:
        seeds: number of seeds; they count from 1.
        jobs: number of runs at the same time.
    """
    for seed in range(1, seeds + 1):
        language_model(seed)  # which several runs start from
    cells = [{"aim": aim, "seed": seed} for seed in range(1, seeds + 1) for aim in AIMS]
    made = {"likelihood": LIKELIHOOD, "ppo": PPO, "aims": AIMS, "sampled": SAMPLES}
    fill(RESULTS / "molecules.json", f"python -m benchmarks.molecules --seeds {seeds}", cells, measure, jobs, **made)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
