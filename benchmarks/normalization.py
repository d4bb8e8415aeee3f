"""Observation statistics that absorb each rollout after its update (ours), against an update at every step (published).

    python -m benchmarks.normalization

HalfCheetah-v5 with its preset at a budget of 300,000 steps; the published way is Gymnasium's NormalizeObservation.
"""

import csv
import statistics
from concurrent.futures import ProcessPoolExecutor

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeObservation, TransformObservation

from benchmarks.trained import spread, write_result
from ppo import Trainer, preset
from ppo.policies.normalizer import CLIP

STEPS, SEEDS, LAST = 300_000, (1, 2, 3), 5


def train(way: str, seed: int) -> float:
    """Train one seed and return the mean episode return (sampled actions) of the last iterations with episodes."""
    settings = {"total_timesteps": STEPS, "seed": seed, "exp_name": way.replace(" ", "_"), "eval_episodes": 0}
    config = preset("HalfCheetah-v5")[1].replace(
        settings | {"runs_dir": "runs/normalization", "checkpoint_every": 1000}
    )
    mode = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # the one that Gymnasium's wrapper normalises throughout
    envs = gymnasium.make_vec("HalfCheetah-v5", config.num_envs, "sync", mode)
    if way == "every step":
        config = config.replace({"normalize_obs": False})
        envs = NormalizeObservation(envs)
        envs = TransformObservation(envs, lambda obs: np.clip(obs, -CLIP, CLIP), envs.single_observation_space)
    run = Trainer(config, envs).train()
    with (run / "progress.csv").open(encoding="utf-8") as file:
        found = [float(row["charts/episodic_return"]) for row in csv.DictReader(file) if row["charts/episodic_return"]]
    return statistics.fmean(found[-LAST:])


def main() -> None:
    """Run both ways on all seeds and write the table."""
    ways = ("each rollout", "every step")
    grid = [(way, seed) for way in ways for seed in SEEDS]
    with ProcessPoolExecutor(2) as pool:
        returns = dict(zip(grid, pool.map(train, *zip(*grid, strict=True)), strict=True))
    rows: list[tuple[str, ...]] = [("statistics absorb", *(f"seed {seed}" for seed in SEEDS), "mean ± std")]
    for way in ways:
        each = [returns[way, seed] for seed in SEEDS]
        rows.append((way, *(f"{x:.0f}" for x in each), spread(each, 0)))
    protocol = f"HalfCheetah-v5, {STEPS:,} steps, returns at the end of training."
    write_result("normalization", "When observation statistics are updated", protocol, rows)


if __name__ == "__main__":
    main()
