"""Probes: the whole loop, trained for a second, finds the values and the actions that are known."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from gymnasium.vector import AutoresetMode

from ppo import Config, Trainer, evaluate
from ppo.envs.spaces import Packer

ROOT = Path(__file__).parents[1]
GAMMA = 0.9


def train(tmp_path: Path, env_id: str, steps: int, envs: Any = None, **settings: Any) -> Trainer:
    config = Config(
        env_id=env_id, runs_dir=tmp_path, total_timesteps=steps, num_envs=4, num_steps=16, vectorization="sync",
        learning_rate=0.01, gamma=GAMMA, hidden_sizes=(16,), state_size=16, vf_coef=1.0, eval_episodes=0,
    )  # fmt: skip
    trainer = Trainer(config.replace(settings), envs)
    trainer.train()
    return trainer


def values(trainer: Trainer, observations: list[Any]) -> list[float]:
    return _forward(trainer, observations)[1][0].tolist()


def probability(trainer: Trainer, observations: list[Any], action: int) -> list[float]:
    """Return π(action) at each observation."""
    dist = _forward(trainer, observations)[0]
    return dist.log_prob(torch.full((1, len(observations)), action)).exp()[0].tolist()


@torch.no_grad()
def _forward(trainer: Trainer, observations: list[Any]) -> Any:
    obs = Packer(trainer.envs.single_observation_space)(observations).unsqueeze(0)  # (1, N, *obs)
    return trainer.policy(obs, trainer.policy.initial_state(len(observations)), torch.ones(1, len(obs[0])).bool())


def test_the_value_of_a_constant_reward_that_is_only_ever_cut_is_the_endless_sum(tmp_path):
    trainer = train(tmp_path, "probes:Constant-v0", 3200)
    assert values(trainer, [0]) == pytest.approx([10.0], rel=0.02)  # 1 / (1 - 0.9)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_cut_episode_is_closed_by_what_it_was_cut_from_and_not_by_the_next_one(tmp_path, mode):
    envs = gymnasium.make_vec("probes:Late-v0", 4, "sync", {"autoreset_mode": mode})
    trainer = train(tmp_path, "probes:Late-v0", 3200, envs)
    assert values(trainer, [0, 1]) == pytest.approx([9.0, 10.0], rel=0.02)


def test_the_value_of_a_constant_reward_that_ends_is_the_finite_sum(tmp_path):
    trainer = train(tmp_path, "probes:Constant-v0", 4800, env_kwargs={"truncates": False, "length": 4})
    assert values(trainer, [0, 1, 2, 3]) == pytest.approx([3.439, 2.71, 1.9, 1.0], rel=0.02)


def test_the_value_of_a_single_step_is_its_reward(tmp_path):
    trainer = train(tmp_path, "probes:Constant-v0", 1280, env_kwargs={"truncates": False, "length": 1})
    assert values(trainer, [0]) == pytest.approx([1.0], rel=0.02)


def test_a_bandit_is_played_at_its_paying_arm(tmp_path):
    trainer = train(tmp_path, "probes:Bandit-v0", 1280)
    assert probability(trainer, [0], 1)[0] > 0.97
    assert values(trainer, [0]) == pytest.approx([1.0], rel=0.05)


def test_the_value_follows_the_observation(tmp_path):
    trainer = train(tmp_path, "probes:Sign-v0", 1280)
    assert values(trainer, [[-1.0], [1.0]]) == pytest.approx([-1.0, 1.0], rel=0.03)


def test_the_action_follows_the_observation(tmp_path):
    trainer = train(tmp_path, "probes:Match-v0", 1280)
    low, high = probability(trainer, [[-1.0], [1.0]], 1)
    assert low < 0.05
    assert high > 0.95


def test_a_reward_one_step_away_is_discounted_once(tmp_path):
    trainer = train(tmp_path, "probes:Delayed-v0", 1920)
    assert values(trainer, [0, 1]) == pytest.approx([0.9, 1.0], rel=0.02)


@pytest.mark.parametrize("policy", ["mlp", "gru"])
def test_credit_for_a_reward_goes_to_the_action_two_steps_back(tmp_path, policy):
    trainer = train(tmp_path, "probes:Credit-v0", 1920, policy=policy)
    assert probability(trainer, [0], 1)[0] > 0.95
    assert values(trainer, [0]) == pytest.approx([0.9], rel=0.05)


@pytest.mark.parametrize(
    "algorithm", [{"update_epochs": 1, "num_minibatches": 1, "norm_adv": False}, {"baseline": False}]
)
def test_a2c_and_reinforce_play_the_paying_arm_too(tmp_path, algorithm):
    trainer = train(tmp_path, "probes:Bandit-v0", 2560, gae_lambda=1.0, **algorithm)
    assert probability(trainer, [0], 1)[0] > 0.95


def test_the_risky_arm_is_played_by_those_who_seek_risk_only(tmp_path):
    # Of the arms played equally often the best 30 % are the wins of arm 1 and some of arm 0, whose distance to the quantile is 0.
    settings = {"num_envs": 8, "num_steps": 32, "gamma": 1.0, "norm_adv": False, "baseline": False}
    risky, plain = (train(tmp_path, "probes:Risky-v0", 4096, risk_quantile=share, **settings) for share in (0.3, 0.0))
    assert probability(risky, [0], 1)[0] > 0.8
    assert probability(plain, [0], 1)[0] < 0.2


@pytest.mark.parametrize(("policy", "low", "high"), [("gru", 0.99, 1.0), ("mlp", 0.3, 0.7)])
def test_a_cue_is_recalled_with_memory_and_guessed_without(tmp_path, monkeypatch, policy, low, high):
    monkeypatch.syspath_prepend(ROOT)
    task = {"cues": 2, "delay": 3}
    trainer = train(
        tmp_path, "benchmarks.tasks:Recall-v0", 6_000, env_kwargs=task, policy=policy, num_envs=8, ent_coef=0.01
    )
    assert low <= evaluate(trainer.run_dir, 200).mean <= high


@pytest.mark.parametrize(("policy", "rate"), [("gru", 1e-2), ("transformer", 2e-3)])
def test_a_policy_of_tokens_learns_to_answer_its_prompts(tmp_path, policy, rate):
    small = {"num_envs": 32, "num_minibatches": 4, "state_size": 32, "hidden_sizes": (32,)}
    task = {"env_kwargs": {"length": 2, "letters": 2}, "gamma": 1.0, "ent_coef": 0.01, "vectorization": "auto"}
    trainer = train(tmp_path, "text/Reverse-v0", 15_000, learning_rate=rate, policy=policy, **task, **small)
    assert evaluate(trainer.run_dir, 64).metric("solved") > 0.95
