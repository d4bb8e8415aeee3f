"""Any VectorEnv is checked before the first step: attributes, autoreset mode, metadata; its time limit is the actual one."""

import pytest
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import TimeLimit
from probes import Endless
from silent import Silent

from ppo.config import Config
from ppo.envs import autoreset_mode, check_envs, make_envs, notes, time_limit
from ppo.errors import UsageError
from ppo.loop.assemble import assemble
from ppo.loop.collector import Collector
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy

NEXT = {"autoreset_mode": "NextStep"}


@pytest.mark.parametrize("metadata", [{}, {"autoreset_mode": None}, {"autoreset_mode": "sometimes"}])
def test_an_environment_that_does_not_say_how_it_resets_is_refused(metadata):
    with pytest.raises(UsageError) as caught:
        check_envs(Silent(metadata))
    assert str(caught.value) == (
        f"Silent.metadata['autoreset_mode'] is {metadata.get('autoreset_mode')!r}; set it to the "
        "gymnasium.vector.AutoresetMode that its step() follows (see docs/environments.md#autoreset)"
    )


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled", *AutoresetMode])
def test_an_autoreset_mode_may_be_the_enum_or_its_value(mode):
    assert autoreset_mode(Silent({"autoreset_mode": mode})) is AutoresetMode(mode)


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
def test_the_time_limit_is_that_of_the_arguments_or_the_specification(vectorization):
    assert time_limit(make_envs("CartPole-v1", 1, vectorization)) == 500
    assert time_limit(make_envs("CartPole-v1", 1, vectorization, {"max_episode_steps": 3000})) == 3000


def test_the_time_limit_is_that_of_a_wrapper_or_0():
    assert time_limit(make_envs("Blackjack-v1", 1)) == 0
    assert time_limit(make_envs("CartPole-v1", 1, "sync", {"max_episode_steps": -1})) == 0
    copies = SyncVectorEnv([lambda: TimeLimit(TimeLimit(Endless(), 7), 9)])
    assert time_limit(check_envs(copies)) == 7


@pytest.mark.parametrize(
    ("limit", "gamma", "other"), [(50, 0.99, "0.96"), (100, 0.99, ""), (50, 1.0, ""), (1, 0.9, "0")]
)
def test_values_that_look_further_than_an_episode_is_long_are_noted(limit, gamma, other):
    (note,) = notes(make_envs("CartPole-v1", 1, env_kwargs={"max_episode_steps": limit}), gamma) or [""]
    assert (f"truncated after {limit}:" in note) == (f"try --gamma {other}, for half" in note) == bool(other)
    assert not notes(SyncVectorEnv([Endless]), gamma)  # without a limit


@pytest.mark.parametrize("missing", ["single_observation_space", "single_action_space", "num_envs"])
def test_an_attribute_that_a_vector_environment_lacks_is_named(missing):
    envs = Silent(NEXT)
    vars(envs).pop(missing)
    with pytest.raises(UsageError, match=f"Silent has no {missing}; set it to"):
        check_envs(envs)


@pytest.mark.parametrize(("wrong", "sentence"), [(Endless(), "Endless is a single environment; give gymnasium.vector.Sync"),
                                                 (Discrete(2), "Discrete is not a gymnasium.vector.VectorEnv")])  # fmt: skip
def test_what_is_not_a_vector_environment_is_refused(wrong, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_envs(wrong)
    with pytest.raises(UsageError, match=sentence):
        assemble(Config(), wrong)


@pytest.mark.parametrize("name", ["valid", "action_mask", "episodic_return", ""])
def test_a_name_that_means_something_else_cannot_be_logged(name):
    with pytest.raises(UsageError, match=f"'{name}' cannot be logged from the info"):
        check_envs(Silent(NEXT), log_info=(name,))


def test_a_vector_environment_without_environments_is_refused():
    with pytest.raises(UsageError, match=r"Silent.num_envs = 0 is too small; it must have at least 1 environment"):
        check_envs(Silent(NEXT, num_envs=0))


class Costly(Endless):
    """Has a cost in its info; cut after 3 steps."""

    def step(self, action):
        *answer, _ = super().step(action)
        return *answer, {"cost": 5.0, "fuel": 2.0}


class Penalty(VectorWrapper):
    """Subtracts the cost, which the copies of an environment give."""

    def step(self, actions):
        obs, rewards, *flags, infos = self.env.step(actions)
        costs = infos["cost"] if "cost" in infos else infos["final_info"]["cost"]
        return obs, rewards - costs, *flags, infos


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_wrapper_of_the_callers_own_reads_the_infos_of_its_environments_which_stay_as_they_are(mode):
    inner = SyncVectorEnv([lambda: TimeLimit(Costly(), 3)] * 2, autoreset_mode=mode)
    envs, own, metadata = Penalty(inner), list(inner.envs), inner.metadata
    checked = check_envs(envs, log_info=("fuel",))
    torch.manual_seed(0)
    policy = build_policy("mlp", checked.single_observation_space, checked.single_action_space, {})
    collector = Collector(checked, FlatPolicy(policy))
    collector.reset(0)
    rollout, episodes = collector.collect(3)
    assert rollout.rewards.tolist() == [[-4.0, -4.0]] * 3
    assert [(episode.episode_return, episode.metrics) for episode in episodes] == [(-12.0, {"fuel": 2.0})] * 2
    assert all(now is before for now, before in zip(inner.envs, own, strict=True))
    assert inner.metadata is metadata
    assert envs.metadata is metadata


def test_names_to_log_join_those_of_the_metadata_once_and_the_environments_own_metadata_stays():
    envs = Silent(NEXT | {"ppo": {"metrics": ("fuel",)}})
    own = envs.metadata
    checked = check_envs(envs, log_info=("distance", "fuel"))
    assert checked.metadata["ppo"] == {"valid": False, "value_ends": False, "metrics": ("fuel", "distance")}
    assert envs.metadata is own
    assert own == NEXT | {"ppo": {"metrics": ("fuel",)}}
