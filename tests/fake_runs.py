"""Made-up runs and figures, for the tests of `ppo.compare`."""

import json

import numpy as np

from ppo.compare.groups import Group, group_runs
from ppo.compare.logs import find_runs
from ppo.compare.published import Figure


def write_run(folder, seed=1, env_id="HalfCheetah-v5", level=5000.0, end=1_000_000, **settings):
    """Write a run folder whose curve rises linearly to `level` at half of the steps, and stays there."""
    folder.mkdir(parents=True)
    config = {"env_id": env_id, "algorithm": "ppo", "seed": seed, "gamma": 0.99, "runs_dir": str(folder)} | settings
    (folder / "config.json").write_text(json.dumps(config))
    lines = ["iteration,global_step,charts/episodic_return,eval/episodic_return"]
    for n in range(1, 101):
        step = end * n // 100
        lines.append(f"{n},{step},{level * min(1.0, n / 50)},{level + 100 if n % 10 == 0 else ''}")
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")
    return folder


def three_runs(folder):
    """Write three seeds of one group and return the folder."""
    for seed, level in ((1, 4900.0), (2, 5000.0), (3, 5200.0)):
        write_run(folder / f"s{seed}", seed, level=level)
    return folder


def only_group(*folders) -> Group:
    """Return the one group of the runs in these folders."""
    (group,) = group_runs(find_runs(list(folders))[0])
    return group


def figure(mean=4000.0, std=100.0, seeds=10, protocol="sampled, evaluation", env_id="HalfCheetah-v3", step=1_000_000):
    return Figure("theirs", "PPO", env_id, protocol, seeds, *(np.array([x]) for x in (step, mean, std)))
