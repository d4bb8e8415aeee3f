"""Language modelling by actor and critic, against maximum likelihood: text/NextToken-v0 on movie reviews, by characters.

    python -m benchmarks.next_token

A GRU of 64 units learns the same lines by each method. The score is its top-1 accuracy on the training lines and on the
held-out tenth of the lines. Actor and critic train on 4M tokens for four epochs, maximum likelihood on 8M tokens once; the last
policy counts. The settings were chosen for the preset and for maximum likelihood, not for the other two methods.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import pages
from benchmarks.runs import RESULTS, finish, save, settings
from ppo.evaluation import evaluate
from ppo.supervised.pretrain import pretrain
from ppo.text.ratings import fetch

CORPUS = "hutto-movies"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "actor-critic, one temporal difference a token, γ 0, λ 0 (the preset)": ("td", {}),
    "actor-critic, one temporal difference a token, γ 0.9, λ 0": ("td9", {"gamma": 0.9}),
    "actor-critic, GAE, γ 0.9, λ 0.95": ("gae", {"gamma": 0.9, "gae_lambda": 0.95}),
    "maximum likelihood": ("likelihood", {"total_timesteps": 8_000_000}),
}
SEEDS, LINES = (1, 2, 3), 1000
RUNS = Path("runs/next_token")


def train(method: str, seed: int) -> tuple[float, float]:
    """Train one seed and return its accuracy on the training lines and on the held-out lines."""
    name, changes = METHODS[method]
    more = {"state_size": 64, "eval_episodes": 0, "env_kwargs": {"corpus": CORPUS}} | changes
    config = settings("text/NextToken-v0", RUNS, name, seed, **more)
    if name == "likelihood":  # pretraining holds out the same lines
        run = finish(config, partial(pretrain, patience=0))
    else:
        run = finish(config.replace({"env_kwargs": {"corpus": CORPUS, "part": "training"}}))
    parts = (
        evaluate(run, LINES, seed=seed, env_kwargs={"part": part}).metric("accuracy")
        for part in ("training", "held-out")
    )
    return next(parts), next(parts)


def main(jobs: int = 2) -> None:
    """Train the missing runs, and write figures and page."""
    torch.set_num_threads(1)
    fetch(CORPUS)
    grid = list(product(METHODS, SEEDS))
    with ProcessPoolExecutor(jobs) as pool:
        accuracies = list(pool.map(train, *zip(*grid, strict=True)))
    rows = [
        {"method": method, "seed": seed, "training": 100 * training, "held_out": 100 * held_out}
        for (method, seed), (training, held_out) in zip(grid, accuracies, strict=True)
    ]
    save(RESULTS / "next_token.json", "python -m benchmarks.next_token", rows, corpus=CORPUS, lines=LINES)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
