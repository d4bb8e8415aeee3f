"""Train the same seed on one rank and on two, and compare the returns and the weights at the end.

A run that was interrupted is resumed; a finished one is not repeated.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs import digest, meta_of, newest_run, settings
from benchmarks.scaling_rows import ROOT, launcher
from ppo import Config
from ppo.evaluation import evaluate
from ppo.run.checkpoint import read_checkpoint

RUNS, SEEDS, EPISODES = Path("runs/scaling"), (1, 2, 3), 100
TASKS: dict[str, dict[str, Any]] = {"HalfCheetah-v5": {"total_timesteps": 200_000}, "LunarLander-v3": {}}


def config_of(env_id: str, seed: int) -> Config:
    """Return the settings of a run: the preset on one thread a rank, stepped in one way whatever the machine's speed."""
    return settings(env_id, RUNS, "", seed).replace({"vectorization": "sync", "compile": "on"} | TASKS[env_id])


def compare(env_id: str, seed: int) -> dict[str, Any]:
    """Return the returns of one seed on one rank and on two, and how far apart their weights are at the end."""
    runs = [finish(env_id, seed, ranks) for ranks in (1, 2)]
    returns = [evaluate(run, EPISODES, deterministic=False).mean for run in runs]
    distance = difference(*runs)
    print(f"{env_id}, seed {seed}: {returns[0]:.1f} and {returns[1]:.1f}, difference {distance:.1e}", flush=True)
    return {"env_id": env_id, "seed": seed, "one": returns[0], "two": returns[1], "difference": distance}


def finish(env_id: str, seed: int, ranks: int) -> Path:
    """Return the finished run of a seed: take it if it exists, resume it if it was interrupted, or train it."""
    config = config_of(env_id, seed)
    folder = ROOT / RUNS / f"{env_id}-{digest(config)}-{ranks}"
    words = [
        "train", env_id, "--seed", str(seed), "--threads", "1", "--compile", "on", "--vectorization", "sync",
        "--total-timesteps", str(config.total_timesteps), "--runs-dir", str(folder),
    ]  # fmt: skip
    run = newest_run(folder, "", seed)
    while run is None or not meta_of(run)["finished"]:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"s{seed}.log").open("a") as log:
            command = [*launcher(ranks), "-m", "ppo", *(["resume", str(run)] if run else words)]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)
        run = newest_run(folder, "", seed)
        if run is None or not meta_of(run)["finished"]:
            raise KeyboardInterrupt  # it was told to stop
    return run


def difference(first: Path, second: Path) -> float:
    """Return the distance of two runs' last weights, as a fraction of their norm; 0 if every bit is the same."""
    weights = []
    for run in (first, second):
        tensors = read_checkpoint(run / "checkpoints" / "latest.safetensors")[0]
        weights.append(torch.cat([x.double().flatten() for name, x in tensors.items() if name.startswith("policy.")]))
    return float((weights[0] - weights[1]).norm() / weights[0].norm())
