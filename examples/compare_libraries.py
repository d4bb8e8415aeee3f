"""Compare runs of another library with runs of ppo and with published figures, on CartPole, three seeds each.

    python examples/compare_libraries.py       # needs the extra compare: pip install scipy matplotlib
    ppo compare runs/libraries                 # the same comparison on the command line, after it

`random_search` stands for the other library, so that none is needed: it tries random linear policies. It writes the file that
Stable-Baselines3's Monitor writes, one line per episode, in a folder ALGORITHM_SEED. Event files of TensorBoard with the tags of
CleanRL, Stable-Baselines3's progress.csv and CSV files of curves are read as well. Three short runs prove little, and the
verdicts say so: no published figure has several runs and this budget.
"""

import json
from pathlib import Path

import gymnasium
import numpy as np
from rich.console import Console

from ppo import Trainer, preset
from ppo.compare.command import compare_runs, show, write

ENV_ID, FOLDER, SEEDS = "CartPole-v1", Path("runs/libraries"), (1, 2, 3)


def random_search(seed: int, total_timesteps: int) -> None:
    """Try random changes of a linear policy, keep those that do not harm, and write a run as Stable-Baselines3 would."""
    env, rng, step = gymnasium.make(ENV_ID), np.random.default_rng(seed), 0
    best, best_return = rng.normal(size=4), 0.0
    lines = ["#" + json.dumps({"t_start": 0.0, "env_id": ENV_ID}), "r,l,t"]
    obs, _ = env.reset(seed=seed)
    while True:
        weights, total, done = best + rng.normal(size=4), 0, False
        while not done:
            obs, _, terminated, truncated, _ = env.step(int(obs @ weights > 0))
            total, done = total + 1, terminated or truncated
        step += total
        if step > total_timesteps:
            break
        lines.append(f"{total},{total},{step}")  # return, length, time
        if total >= best_return:
            best, best_return = weights, total
        obs, _ = env.reset()
    folder = FOLDER / f"search_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "monitor.csv").write_text("\n".join(lines) + "\n")


def main(total_timesteps: int = 30_000) -> list[str]:
    """Make the runs, print the comparison, write its page, and return the verdicts."""
    config = preset(ENV_ID)
    config = config.replace({"total_timesteps": total_timesteps, "runs_dir": str(FOLDER)})
    runs = [Trainer(config.replace({"seed": seed})).train() for seed in SEEDS]
    for seed in SEEDS:
        random_search(seed, total_timesteps)
    result = compare_runs([*runs, *(FOLDER / f"search_{seed}" for seed in SEEDS)])
    show(result, Console())
    print(f"curves: {write(result, FOLDER / 'compare', 'mean')}")
    return result.verdicts()


if __name__ == "__main__":
    main()
