"""Observation statistics updated after each rollout (ours), against an update at every step (published).

    python -m benchmarks.normalization

HalfCheetah-v5 with its preset and a budget of 300,000 steps; the published method is Gymnasium's NormalizeObservation.
"""

import csv
import statistics
from concurrent.futures import ProcessPoolExecutor

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeObservation, TransformObservation

from benchmarks import pages
from benchmarks.runs import RESULTS, save
from ppo import Trainer, preset
from ppo.policies.normalizer import CLIP

STEPS, SEEDS, LAST = 300_000, (1, 2, 3), 5


def train(method: str, seed: int) -> float:
    """Train one seed and return the mean episode return (sampled actions) of the last iterations with episodes."""
    settings = {"total_timesteps": STEPS, "seed": seed, "exp_name": method.replace(" ", "_"), "eval_episodes": 0}
    config = preset("HalfCheetah-v5").replace(settings | {"runs_dir": "runs/normalization", "checkpoint_every": 1000})
    mode = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # in this mode Gymnasium's wrapper normalises every observation
    envs = gymnasium.make_vec("HalfCheetah-v5", config.num_envs, "sync", mode)
    if method == "every step":
        config = config.replace({"normalize_obs": False})
        envs = NormalizeObservation(envs)
        envs = TransformObservation(envs, lambda obs: np.clip(obs, -CLIP, CLIP), envs.single_observation_space)
    run = Trainer(config, envs).train()
    with (run / "progress.csv").open(encoding="utf-8") as file:
        returns = [
            float(row["charts/episodic_return"]) for row in csv.DictReader(file) if row["charts/episodic_return"]
        ]
    return statistics.fmean(returns[-LAST:])


def main() -> None:
    """Run both methods on all seeds and write figures and page."""
    methods = ("each rollout", "every step")
    grid = [(method, seed) for method in methods for seed in SEEDS]
    with ProcessPoolExecutor(2) as pool:
        returns = pool.map(train, *zip(*grid, strict=True))
        rows = [{"method": m, "seed": seed, "return": x} for (m, seed), x in zip(grid, returns, strict=True)]
    save(RESULTS / "normalization.json", "python -m benchmarks.normalization", rows, steps=STEPS)
    pages.write()


if __name__ == "__main__":
    main()
