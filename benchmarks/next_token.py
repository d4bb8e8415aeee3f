"""Language modelling by actor and critic, against maximum likelihood: text/NextToken-v0 on its built-in text.

    python -m benchmarks.next_token

The same GRU learns the same lines in each way; what counts is how often its most probable token is the next one, on the
lines that it learnt from and on the tenth that was held out.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import torch
import tyro

from benchmarks.trained import spread, trained, write_result
from ppo import preset
from ppo.evaluate import evaluate
from ppo.pretrain import pretrain

WAYS = {
    "actor-critic, one-step temporal differences (γ 0, λ 0)": ("td", {"gamma": 0.0, "gae_lambda": 0.0}),
    "PPO, GAE (the preset)": ("gae", {}),
    "maximum likelihood": ("likelihood", {}),
}
SEEDS, STEPS = (1, 2, 3), 1_000_000
RUNS = Path("runs/next_token")


def train(way: str, seed: int) -> tuple[float, float]:
    """Train one seed and return its accuracy on the training and on the held-out lines."""
    name, changes = WAYS[way]
    fixed = {"runs_dir": str(RUNS), "exp_name": name, "seed": seed, "total_timesteps": STEPS, "threads": 1}
    config = preset("text/NextToken-v0")[1].replace(fixed | changes)
    if name == "likelihood":
        run = trained(config, partial(pretrain, patience=0))  # which holds out the same lines by itself
    else:
        run = trained(config.replace({"env_kwargs": {"part": "training"}}))
    parts = (evaluate(run, 200, env_kwargs={"part": part}).metric("accuracy") for part in ("training", "held-out"))
    return next(parts), next(parts)


def main(jobs: int = 2) -> None:
    """Train what is missing, and write the table."""
    torch.set_num_threads(1)
    grid = list(product(WAYS, SEEDS))
    with ProcessPoolExecutor(jobs) as pool:
        found = dict(zip(grid, pool.map(train, *zip(*grid, strict=True)), strict=True))
    rows: list[tuple[str, ...]] = [("way", "accuracy, training lines", "each seed", "held-out lines", "each seed")]
    for way in WAYS:
        each = [[100 * found[way, seed][part] for seed in SEEDS] for part in (0, 1)]
        cells = ((spread(values, 1), ", ".join(f"{x:.1f}" for x in values)) for values in each)
        rows.append((way, *next(cells), *next(cells)))
    protocol = (
        "Per cent of next tokens that were guessed, the most probable one taken, mean over lines; the last policy after "
        f"{STEPS:,} tokens."
    )
    write_result("next_token", "Next token", protocol, rows)


if __name__ == "__main__":
    tyro.cli(main)
