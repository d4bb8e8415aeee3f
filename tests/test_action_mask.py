"""The action mask of the infos is where the policy reads it: in the observation."""

import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, MultiBinary
from silent import Silent

from ppo.envs import check_envs, make_envs
from ppo.errors import UsageError


def test_environments_without_a_mask_stay_as_they_are():
    envs = make_envs("CartPole-v1", 2)
    assert check_envs(envs) is envs


def test_a_mask_in_the_info_becomes_part_of_the_observation():
    envs = check_envs(make_envs("Taxi-v4", 3))
    assert envs.single_observation_space == Dict([("obs", Discrete(500)), ("action_mask", MultiBinary(6))])
    obs, infos = envs.reset(seed=3)
    assert np.array_equal(obs["action_mask"], infos["action_mask"])
    assert envs.observation_space.contains(obs)
    obs, *_, infos = envs.step(obs["action_mask"].argmax(1))
    assert np.array_equal(obs["action_mask"], infos["action_mask"])
    assert 0 < obs["action_mask"].sum() < 18


def test_an_environment_without_a_mask_allows_everything():
    infos = {"action_mask": np.array([[0, 1, 0], [9, 9, 9]]), "_action_mask": np.array([True, False])}
    envs = check_envs(Silent({"autoreset_mode": "NextStep"}, infos))
    assert envs.reset(seed=0)[0]["action_mask"].tolist() == [[0, 1, 0], [1, 1, 1]]
    envs.env.infos = {}
    assert envs.step(np.zeros(2, int))[0]["action_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_the_mask_of_a_single_environment_gives_the_width():
    infos = {
        "action_mask": np.array([None, np.array([1, 0, 1])], dtype=object),
        "_action_mask": np.array([False, True]),
    }
    envs = check_envs(Silent({"autoreset_mode": "NextStep"}, infos))
    assert envs.reset(seed=0)[0]["action_mask"].tolist() == [[1, 1, 1], [1, 0, 1]]


def test_a_final_observation_gets_a_mask_that_allows_everything():
    envs = check_envs(make_envs("Taxi-v4", 2))  # which truncates after 200 steps
    envs.reset(seed=0)
    for _ in range(200):
        *_, truncated, infos = envs.step(np.zeros(2, int))
    assert truncated.all()
    final = infos["final_obs"][0]
    assert envs.single_observation_space.contains(final)
    assert final["action_mask"].tolist() == [1] * 6


@pytest.mark.parametrize("mask", ["none", 1, {"a": np.ones(2)}, np.array(["a", "b"]), np.array([{}, {}])])
def test_what_is_not_an_array_of_numbers_is_not_a_mask(mask):
    envs = Silent({"autoreset_mode": "NextStep"}, {"action_mask": mask})
    assert check_envs(envs) is envs


def test_a_mask_of_another_size_is_refused_with_its_environment():
    infos = {"action_mask": np.ones((2, 4)), "_action_mask": np.array([False, True])}
    with pytest.raises(UsageError, match="the action mask of environment 1 has 4 entries, but its action space has 3"):
        check_envs(Silent({"autoreset_mode": "NextStep"}, infos))


def test_a_mask_that_is_in_the_observation_stays_there():
    envs = Silent({"autoreset_mode": "NextStep"}, {"action_mask": np.ones((2, 3))})
    envs.single_observation_space = Dict(action_mask=MultiBinary(3), x=Discrete(2))
    assert check_envs(envs) is envs
