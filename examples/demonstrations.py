"""Learn a sparse task from ten demonstrations of your own, then improve on them with PPO.

MountainCarContinuous pays 100 for reaching the top of a hill and charges for every push. In 130 steps chance never gets there, so
that PPO alone learns to stand still.
"""

import sys

import gymnasium
import numpy as np

from ppo import Trainer, evaluate, preset, pretrain

ENV, STEPS = "MountainCarContinuous-v0", 130  # of an episode


def demonstrate(path: str, episodes: int = 10) -> float:
    """Write episodes of a rule, full power in the direction of motion, as a file of plain arrays; return the mean return."""
    env = gymnasium.make(ENV, max_episode_steps=STEPS)
    columns: dict[str, list] = {
        name: [] for name in ("observations", "actions", "rewards", "terminations", "truncations")
    }
    for seed in range(episodes):
        obs, done = env.reset(seed=seed)[0], False
        while not done:
            action = np.array([1.0 if obs[1] >= 0 else -1.0], np.float32)
            after, reward, terminated, truncated, _ = env.step(action)
            for name, value in zip(columns, (obs, action, reward, terminated, truncated), strict=True):
                columns[name].append(value)
            obs, done = after, terminated or truncated
    np.savez(path, **{name: np.array(values) for name, values in columns.items()})
    return float(np.sum(columns["rewards"])) / episodes


def main(total_timesteps: int = 100_000, steps: int = 100_000) -> dict[str, float]:
    """Print and return what the rule, PPO alone, the clone of the rule, and PPO from the clone earn in an episode."""
    returns = {"the rule": demonstrate("hill.npz")}
    config = preset(ENV)
    config = config.replace({"total_timesteps": total_timesteps, "max_episode_steps": STEPS, "seed": 101})
    returns["PPO alone"] = evaluate(Trainer(config).train()).mean
    clone = Trainer(config.replace({"total_timesteps": steps, "exp_name": "clone"}))
    run = str(pretrain(clone, demonstrations="hill.npz").run_dir)
    returns["the clone"] = evaluate(run).mean
    returns["PPO from the clone"] = evaluate(Trainer(config.replace({"init_from": run})).train()).mean
    for name, earned in returns.items():
        print(f"{name:>18}  {earned:6.1f}")
    return returns


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
