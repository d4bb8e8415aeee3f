"""EnvPool behind Gymnasium's VectorEnv: seeds, dead rows, and the error if it is not installed."""

import gymnasium
import numpy as np
import pytest
import torch

from ppo import UsageError, make_envs
from ppo.envs import check_envs, time_limit
from ppo.envs.envpool import pool_id
from ppo.loop.collector import Collector
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy


def rollout(seed, steps=80):
    envs = check_envs(make_envs("CartPole-v1", 3, "envpool"))
    torch.manual_seed(0)
    policy = build_policy("mlp", envs.single_observation_space, envs.single_action_space, {})
    collector = Collector(envs, FlatPolicy(policy))
    collector.reset(seed)
    torch.manual_seed(1)
    return collector.collect(steps)


def test_without_envpool_one_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("ppo.envs.envpool.is_installed", lambda name: False)
    with pytest.raises(UsageError, match="pip install envpool"):
        make_envs("CartPole-v1", 2, "envpool")


def test_an_environment_that_envpool_does_not_know_is_named():
    pytest.importorskip("envpool")
    with pytest.raises(UsageError, match=r"EnvPool does not have Recall-v0; use --vectorization auto"):
        make_envs("benchmarks.tasks:Recall-v0", 2, "envpool")


@pytest.mark.parametrize(
    ("env_id", "kwargs", "expected"),
    [
        ("ALE/SpaceInvaders-v5", {"repeat_action_probability": 0.25, "frameskip": 4},
         ("SpaceInvaders-v5", {"repeat_action_probability": 0.25})),
        ("PongNoFrameskip-v4", {"repeat_action_probability": 0.0, "full_action_space": False},
         ("Pong-v5", {"repeat_action_probability": 0.0, "full_action_space": False})),
        ("Pong-v4", {"repeat_action_probability": 0.0}, ("Pong-v4", {})),  # a random number of frames, which EnvPool has not
        ("FrozenLake-v1", {"map_name": "4x4"}, ("FrozenLake-v1", {})),
    ],
)  # fmt: skip
def test_an_atari_id_is_the_games_id_of_envpool_with_the_sticky_actions_of_the_id(env_id, kwargs, expected):
    assert pool_id(gymnasium.envs.registration.EnvSpec(env_id, "a:B", kwargs=kwargs)) == expected


def test_the_pool_of_an_atari_id_has_its_sticky_actions_and_its_time_limit():
    pytest.importorskip("envpool")
    pytest.importorskip("ale_py")
    envs = make_envs("ALE/Breakout-v5", 2, "envpool")
    config = envs.pool.spec.config
    assert (config.task, config.repeat_action_probability, config.reward_clip) == ("breakout", 0.25, False)
    assert time_limit(envs) == 27_000
    assert envs.single_observation_space.shape == (4, 84, 84)
    assert time_limit(make_envs("ALE/Breakout-v5", 2, "envpool", max_episode_steps=50)) == 50


@pytest.mark.parametrize("name", ["reward_clip", "episodic_life", "batch_size"])
def test_an_argument_that_would_change_the_return_of_a_game_is_refused(name):
    pytest.importorskip("envpool")
    pytest.importorskip("ale_py")
    with pytest.raises(UsageError, match=rf"{name} = True is refused: .*(instead|leave it out)"):
        make_envs("ALE/Pong-v5", 1, "envpool", {name: True})


def test_the_end_of_a_life_ends_the_value_as_in_ales_own_environments():
    pytest.importorskip("envpool")
    pytest.importorskip("ale_py")
    envs = check_envs(make_envs("BreakoutNoFrameskip-v4", 2, "envpool"))
    _, infos = envs.reset(seed=0)
    lives, ends, losses = infos["lives"], 0, 0
    for step in range(300):
        *_, terminated, truncated, infos = envs.step(np.array([1, step % 4]))
        losses += ((infos["lives"] < lives) & (infos["lives"] > 0) & ~terminated & ~truncated).sum()
        ends, lives = ends + infos["value_ends"].sum(), infos["lives"]
    assert ends == losses > 4


def test_keyword_arguments_that_envpool_refuses_are_one_sentence():
    pytest.importorskip("envpool")
    with pytest.raises(UsageError, match=r"CartPole-v1 cannot be made with \{'wheels': 3\}"):
        make_envs("CartPole-v1", 2, "envpool", {"wheels": 3})


def test_equal_seeds_give_equal_rollouts_and_others_do_not():
    pytest.importorskip("envpool")
    (one, _), (again, _), (other, _) = rollout(5), rollout(5), rollout(6)
    assert torch.equal(one.obs, again.obs)
    assert not torch.equal(one.obs[0], other.obs[0])


def test_the_row_after_an_episode_is_dead_and_episodes_are_as_long_as_their_rewards_say():
    pytest.importorskip("envpool")
    rows, episodes = rollout(5)
    done = (rows.terminated | rows.truncated) & rows.valid
    assert done.any()
    assert torch.equal(~rows.valid[1:], done[:-1])
    assert torch.equal(rows.starts[2:], done[:-2])
    assert all(episode.episode_return == episode.length for episode in episodes)
    assert len(episodes) == int(done.sum())


def test_its_first_observations_lie_where_cartpole_begins():
    pytest.importorskip("envpool")
    obs = rollout(5)[0].obs[0].numpy()
    assert (np.abs(obs) <= 0.05).all()


@pytest.mark.parametrize(("kwargs", "ends"), [({}, True), ({"use_fire_reset": False}, False)])
def test_fire_begins_each_life_of_an_atari_game(kwargs, ends):
    pytest.importorskip("envpool")
    pytest.importorskip("ale_py")
    envs = make_envs("BreakoutNoFrameskip-v4", 1, "envpool", kwargs)
    envs.reset(seed=0)
    assert any(envs.step(np.zeros(1, int))[2][0] for _ in range(400)) == ends
