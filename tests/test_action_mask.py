"""The action mask of the infos is where the policy reads it: in the observation."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, MultiBinary
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
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


@pytest.mark.parametrize(
    ("has_mask", "words"),
    [([False, False], "environment 0 first gave info['action_mask'] but does not give it now; give it in reset and in"),
     ([True, True], "environment 1 gives info['action_mask'] but gave none at first; give it in reset and in every step")],
)  # fmt: skip
def test_a_mask_that_comes_with_some_infos_only_is_refused(has_mask, words):
    mask = np.array([[0, 1, 0], [1, 1, 1]], np.int8)
    envs = check_envs(
        Silent({"autoreset_mode": "NextStep"}, {"action_mask": mask, "_action_mask": np.array([True, False])})
    )
    envs.reset(seed=0)
    envs.env.infos["_action_mask"] = np.array(has_mask)
    for ask in (lambda: envs.step(np.zeros(2, int)), lambda: envs.reset(seed=0)):
        with pytest.raises(UsageError) as caught:
            ask()
        assert words in str(caught.value)


class Masked(gymnasium.Env):
    """Ends after 2 steps, whose info has no mask: nothing is decided there."""

    observation_space, action_space = Discrete(3), Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return 0, {"action_mask": np.array([1, 0])}

    def step(self, action):
        self.time += 1
        return self.time, 1.0, self.time == 2, False, {} if self.time == 2 else {"action_mask": np.array([0, 1])}


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_last_info_of_an_episode_needs_no_mask(mode):
    envs = check_envs(SyncVectorEnv([Masked] * 2, autoreset_mode=mode))
    seen = [envs.reset(seed=0)[0]["action_mask"][1].tolist()]
    for _ in range(3):
        obs, _, terminated, truncated, _ = envs.step(np.zeros(2, int))
        if mode is AutoresetMode.DISABLED and terminated.any():
            obs, _ = envs.reset(options={"reset_mask": terminated | truncated})
        seen.append(obs["action_mask"][1].tolist())
    dead = [[1, 1]] if mode is AutoresetMode.NEXT_STEP else []
    assert seen == [[1, 0], [0, 1], *dead, [1, 0], [0, 1]][:4]


class Methodical(Masked):
    """Its mask comes from a method."""

    def reset(self, *, seed=None, options=None):
        return super().reset()[0], {}

    def step(self, action):
        return *super().step(action)[:4], {}

    def action_masks(self):
        return np.array([True, False])


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_a_method_action_masks_inside_the_callers_own_vector_environment_is_refused(kind):
    envs = kind([Methodical] * 2)
    with pytest.raises(UsageError) as caught:
        check_envs(envs)
    envs.close()
    assert str(caught.value) == (
        f"environment 0 has a method action_masks(), which is not read inside a {kind.__name__} of your own; return its mask "
        "as info['action_mask'] from reset and step, or give env_id (see docs/environments.md#action-masks)"
    )


def test_a_dict_is_the_mask_of_a_dict_action_space_which_cannot_be_masked():
    envs = Silent({"autoreset_mode": "NextStep"}, {"action_mask": {"a": np.ones((2, 2))}})
    envs.single_action_space = Dict(a=Discrete(2))
    with pytest.raises(
        UsageError, match="for the parts of a Dict action space, which cannot be masked; use a Discrete"
    ):
        check_envs(envs)


def test_an_int8_column_with_other_entries_names_its_environment():
    infos = {"action_mask": np.array([[0, 1, 0], [-1, 1, 1]], np.int8)}
    with pytest.raises(UsageError, match="the action mask of environment 1 has the entry -1"):
        check_envs(Silent({"autoreset_mode": "NextStep"}, infos))


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
