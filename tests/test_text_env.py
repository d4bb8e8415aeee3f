"""Text environments are recognised by their class, whatever wraps them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import VectorWrapper

from ppo import UsageError
from ppo.envs import check_envs, lines_of, make_envs
from ppo.envs.space_json import spaces_of
from ppo.envs.text_env import TextEnv, text_env
from ppo.text import Vocabulary


@pytest.mark.parametrize("env_id", ["text/Copy-v0", "text/NextToken-v0"])
def test_a_text_environment_is_found_inside_wrappers(env_id):
    envs = make_envs(env_id, 2)
    assert isinstance(envs, TextEnv)
    assert text_env(VectorWrapper(envs)) is envs
    assert spaces_of(VectorWrapper(envs))["symbols"] == list(envs.vocabulary.symbols)


def test_other_environments_are_not_text_and_have_no_samples():
    envs = make_envs("CartPole-v1", 2, "sync")
    assert text_env(envs) is None
    assert lines_of(envs) == []
    assert "symbols" not in spaces_of(envs)


def test_an_environment_that_only_sets_its_vocabulary_has_defaults_for_the_rest():
    class Bare(TextEnv):
        vocabulary = Vocabulary("ab")

    env = Bare()
    assert (env.group_size, env.rewarded, env.demonstrations, env.render()) == (1, True, [], ())
    with pytest.raises(UsageError, match="the task has no demonstrations; give a text file with --corpus"):
        env.demonstrate(np.random.default_rng(0))


def test_the_group_size_must_be_that_of_the_environments():
    envs = make_envs("text/Copy-v0", 4, group_size=2)
    assert check_envs(envs, 2) is envs
    with pytest.raises(
        UsageError, match="group_size = 1, but the environments were made with group_size = 2; use the same value"
    ):
        check_envs(envs)
    with pytest.raises(UsageError, match="group_size = 2, but the environments were made with group_size = 1"):
        check_envs(gymnasium.make_vec("CartPole-v1", 2), 2)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "text/NextToken-v0", "MountainCar-v0"])
def test_groups_need_an_environment_that_takes_a_group_size(env_id):
    with pytest.raises(UsageError, match=f"group_size = 2 needs an environment that shares prompts; {env_id} does not"):
        make_envs(env_id, 4, group_size=2)
