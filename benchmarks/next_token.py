"""Language modelling by actor and critic, against maximum likelihood: text/NextToken-v0 on movie reviews, by characters.

    python -m benchmarks.next_token

A GRU of 64 learns the same lines in each way; what counts is how often its most probable token is the next one, on the
lines that it learnt from and on the tenth that was held out. Actor and critic take 4M tokens and each of them four times
(epochs), maximum likelihood 8M once; the last policy counts. The settings were chosen for the preset and for maximum
likelihood, not for the other two ways.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.trained import settings, spread, trained, write_result
from ppo.evaluate import evaluate
from ppo.supervised.pretrain import pretrain
from ppo.text.ratings import fetch

CORPUS = "hutto-movies"
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "actor-critic, one temporal difference a token, γ 0, λ 0 (the preset)": ("td", {}),
    "actor-critic, one temporal difference a token, γ 0.9, λ 0": ("td9", {"gamma": 0.9}),
    "actor-critic, GAE, γ 0.9, λ 0.95": ("gae", {"gamma": 0.9, "gae_lambda": 0.95}),
    "maximum likelihood": ("likelihood", {"total_timesteps": 8_000_000}),
}
SEEDS, LINES = (1, 2, 3), 1000
RUNS = Path("runs/next_token")


def train(way: str, seed: int) -> tuple[float, float]:
    """Train one seed and return its accuracy on the training and on the held-out lines."""
    name, changes = WAYS[way]
    more = {"state_size": 64, "eval_episodes": 0, "env_kwargs": {"corpus": CORPUS}} | changes
    config = settings("text/NextToken-v0", RUNS, name, seed, **more)
    if name == "likelihood":  # it holds out the same lines by itself
        run = trained(config, partial(pretrain, patience=0))
    else:
        run = trained(config.replace({"env_kwargs": {"corpus": CORPUS, "part": "training"}}))
    parts = (
        evaluate(run, LINES, seed=seed, env_kwargs={"part": part}).metric("accuracy")
        for part in ("training", "held-out")
    )
    return next(parts), next(parts)


def main(jobs: int = 2) -> None:
    """Train what is missing, and write the table."""
    torch.set_num_threads(1)
    fetch(CORPUS)
    grid = list(product(WAYS, SEEDS))
    with ProcessPoolExecutor(jobs) as pool:
        found = dict(zip(grid, pool.map(train, *zip(*grid, strict=True)), strict=True))
    rows: list[tuple[str, ...]] = [("way", "accuracy, training lines", "each seed", "held-out lines", "each seed")]
    for way in WAYS:
        each = [[100 * found[way, seed][part] for seed in SEEDS] for part in (0, 1)]
        cells = ((spread(values, 1), ", ".join(f"{x:.1f}" for x in values)) for values in each)
        rows.append((way, *next(cells), *next(cells)))
    protocol = (
        f"Per cent of next characters of {CORPUS} that were guessed, the most probable one taken, mean over {LINES:,} lines; "
        "GRU of 64, mean ± standard deviation over seeds; 4M tokens four times each, for maximum likelihood 8M once. The settings "
        "were chosen for the first and the last row."
    )
    write_result("next_token", "Next token", protocol, rows)


if __name__ == "__main__":
    tyro.cli(main)
