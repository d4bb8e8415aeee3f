"""Stable-Baselines3 and sb3-contrib, as `benchmarks.speed` times them.

    python -m benchmarks.speed_peer 1

It imports nothing of ours, so that the time from this command to a perfect CartPole is the peer's own.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.speed_loops import Row

EVALUATED_EVERY = 8192  # steps between evaluations on the way to a perfect CartPole, two episodes of each environment


def measure_peer(row: Row) -> dict[str, float]:
    """Train the peer with the same hyperparameters and return its steps per second and peak memory."""
    import sb3_contrib
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

    from benchmarks.speed_loops import forget_peak, training_peak
    from ppo.config.setting import schedules

    torch.set_num_threads(row.threads)
    config = row.config
    gamma = schedules(config)["gamma"].highest_end
    kind = {"PPO": stable_baselines3.PPO, "RecurrentPPO": sb3_contrib.RecurrentPPO}[row.peer]
    name = {"PPO": "MlpPolicy", "RecurrentPPO": "MlpLstmPolicy"}[row.peer]
    name = "CnnPolicy" if config.policy == "cnn" else name
    games = "NoFrameskip" in config.env_id
    make = make_atari_env if games else make_vec_env
    envs = make(config.env_id, config.num_envs, vec_env_cls=SubprocVecEnv if row.workers else DummyVecEnv)
    if games:
        envs = VecFrameStack(envs, 4)
    if config.normalize_obs:
        envs = VecNormalize(envs, gamma=gamma)
    size = config.batch_size // config.num_minibatches
    model = kind(
        name, envs, config.learning_rate, config.num_steps, size, config.update_epochs, gamma,
        config.gae_lambda, config.clip_coef, config.clip_coef if config.clip_vloss else None, ent_coef=config.ent_coef, vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm, normalize_advantage=config.norm_adv, policy_kwargs=row.policy,
        device=config.device if config.device != "auto" else "cpu",
    )  # fmt: skip
    model.learn(config.batch_size)
    forget_peak()
    steps, begin = config.batch_size * row.rollouts, time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    return {"sps": steps / (time.perf_counter() - begin)} | training_peak()


def solve(seed: int) -> None:
    """Train Stable-Baselines3 with its tuned settings and print the time of the first evaluation that returned 500."""
    import torch

    torch.set_num_threads(1)
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
    from stable_baselines3.common.env_util import make_vec_env

    envs, others = make_vec_env("CartPole-v1", 8, seed=seed), make_vec_env("CartPole-v1", 8, seed=seed + 1_000_003)
    stop = StopTrainingOnRewardThreshold(499.9)
    model = PPO(
        "MlpPolicy", envs, n_steps=32, batch_size=256, n_epochs=20, gamma=0.98, gae_lambda=0.8, device="cpu", seed=seed,
        learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left,
    )  # fmt: skip
    model.learn(100_000, EvalCallback(others, stop, n_eval_episodes=10, eval_freq=EVALUATED_EVERY // 8, verbose=0))
    assert model.num_timesteps < 100_000, "the peer did not reach 500"
    print(time.time())


if __name__ == "__main__":
    solve(int(sys.argv[1]))
