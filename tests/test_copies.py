"""The copies of an environment: what they return fits, is kept safely, and is named by its copy where it does not fit."""

import signal

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo.envs.copies import Copy, SyncCopies, copied, make_copies
from ppo.envs.vector import dropped
from ppo.errors import UsageError
from ppo.machine.worker import signal_mask


class Talkative(gymnasium.Env):
    """Ends after `length` steps; its info has keys that are read and others. Action 2 raises; `answer` replaces parts."""

    observation_space, action_space = Discrete(9), Discrete(3)

    def __init__(self, length=3, answer=None, metadata=None):
        self.length, self.answer, self.metadata = length, answer or {}, metadata or {}

    def _info(self):
        return {"speed": 1.5, "valid": False, "metrics": "none", "success": self.time} | (
            {"action_mask": np.array([1, self.time % 2, 0], np.int8)} | self.answer.get("info", {})
        )

    def reset(self, *, seed=None, options=None):
        if seed == 13:
            raise ValueError("unlucky")
        self.time = 0
        return 0, self._info()

    def step(self, action):
        if action == 2:
            raise RuntimeError("not allowed")
        self.time += 1
        answer = {"obs": self.time, "reward": 1.0, "terminated": self.time == self.length} | self.answer
        return answer["obs"], answer["reward"], answer["terminated"], False, self._info()


SPEC = EnvSpec("Talkative-v0", entry_point=Talkative)


class Mission(gymnasium.Space):
    """A text as MiniGrid has it: a space of its own, which no vector environment of Gymnasium can share."""

    def __init__(self):
        super().__init__((), str)


class Missions(Talkative):
    """Shows a place and a text."""

    observation_space = Dict(place=Discrete(9), mission=Mission())

    def reset(self, **options):
        obs, info = super().reset(**options)
        return {"place": obs, "mission": "go"}, info

    def step(self, action):
        obs, *rest = super().step(action)
        return {"place": obs, "mission": "go"}, *rest


def here(num_envs, **kwargs):
    return SyncCopies(make_copies(SPEC, range(num_envs), kwargs, checks_obs=False))


def test_it_steps_as_gymnasiums_own_and_keeps_the_keys_that_are_read():
    lean = here(2, length=2)
    theirs = SyncVectorEnv([lambda: Talkative(2)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    lean.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(5):
        *ours, infos = lean.step(np.zeros(2, int))
        *expected, all_infos = theirs.step(np.zeros(2, int))
        assert all(np.array_equal(x, y) for x, y in zip(ours, expected, strict=True))
        assert np.array_equal(infos["action_mask"], all_infos["action_mask"])
        assert set(infos) <= {"action_mask", "_action_mask", "final_obs", "_final_obs", "final_info", "_final_info"}
        assert ("final_obs" in infos) == ("final_obs" in all_infos)


def test_keys_that_the_metadata_declares_are_read_too():
    envs = here(2, length=2, metadata={"ppo": {"valid": True, "metrics": ["success"]}})
    assert envs.reset(seed=0)[1]["valid"].tolist() == [False, False]
    assert "final_info" not in envs.step(np.zeros(2, int))[-1]
    assert envs.step(np.zeros(2, int))[-1]["final_info"]["success"].tolist() == [2.0, 2.0]


def test_an_error_names_the_environment_and_keeps_its_type():
    envs = here(2)
    with pytest.raises(ValueError, match="unlucky") as error:
        envs.reset(seed=[0, 13])
    assert error.value.__notes__ == ["(raised by environment 1)"]
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="not allowed") as error:
        envs.step(np.array([2, 0]))
    assert error.value.__notes__ == ["(raised by environment 0)"]


def refusal(**answer):
    copy = Copy(Talkative(answer=answer), 7)
    copy.reset()
    with pytest.raises(UsageError) as caught:
        copy.step(0)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("reward", np.ones(2), "array([1., 1.]); it must be one number"),
        ("reward", np.ones(1), "array([1.]); it must be one number"),
        ("reward", None, "None; it must be one number"),
        ("reward", "1", "'1'; it must be one number"),
        ("reward", [1, [2, 3]], "[1, [2, 3]]; it must be one number"),
        ("terminated", None, "None; it must be True or False"),
        ("terminated", "False", "'False'; it must be True or False"),
    ],
)
def test_a_reward_or_a_flag_that_is_not_one_number_is_refused_with_its_environment(name, value, text):
    assert refusal(**{name: value}) == f"environment 7 returned {name} = {text}"


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.int64(1), np.array(1.0), np.bool_(True)])
def test_any_one_number_is_a_reward(reward):
    copy = Copy(Talkative(answer={"reward": reward}), 0)
    copy.reset()
    assert copy.step(0)[1] == 1


def test_a_flag_of_the_info_that_the_metadata_declares_must_be_one():
    copy = Copy(Talkative(answer={"info": {"valid": "no"}}, metadata={"ppo": {"valid": True}}), 7)
    with pytest.raises(UsageError, match="environment 7 returned valid = 'no'; it must be True or False"):
        copy.reset()


@pytest.mark.parametrize("checks_obs", [True, False], ids=["by each copy", "where NumPy stacks them"])
@pytest.mark.parametrize(("num_envs", "obs"), [(1, [0, 1]), (2, 2.5), (2, None), (2, "two"), (2, [1, [2]])])
def test_an_observation_that_does_not_fit_is_refused_with_its_environment(num_envs, obs, checks_obs):
    envs = SyncCopies(make_copies(SPEC, range(num_envs), {"answer": {"obs": obs}}, checks_obs))
    envs.reset(seed=0)
    with pytest.raises(
        UsageError, match="environment 0 returned an observation that does not fit its space: "
    ) as caught:
        envs.step(np.zeros(num_envs, int))
    assert repr(obs) in str(caught.value)


def test_an_environment_without_a_space_is_refused():
    class Spaceless(gymnasium.Env):
        action_space = Discrete(2)

    with pytest.raises(UsageError, match=r"Spaceless has no observation_space; set it to a gymnasium.spaces.Space"):
        Copy(Spaceless(), 0)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_method_action_masks_gives_the_mask_where_the_info_has_none(wrapped):
    class Methodical(Talkative):
        def action_masks(self):
            return [self.time % 2 == 0, True, False]

    env = Methodical(answer={"info": {"action_mask": "none"}})
    copy = Copy(gymnasium.Wrapper(env) if wrapped else env, 0)
    assert copy.reset()[1]["action_mask"].tolist() == [1, 1, 0]
    assert copy.step(0)[-1]["action_mask"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("answer", [None, {"a": np.ones(3)}, "left"])
def test_a_method_action_masks_that_returns_no_array_is_refused(answer):
    class Methodical(Talkative):
        def action_masks(self):
            return answer

    with pytest.raises(UsageError, match=r"environment 4 returned .* from action_masks\(\); it must return an array"):
        Copy(Methodical(answer={"info": {"action_mask": None}}), 4).reset()


def test_an_error_of_a_method_action_masks_stays_what_it_is():
    class Methodical(Talkative):
        def action_masks(self):
            raise IndexError("my own")

    envs = SyncCopies([lambda: Copy(Methodical(answer={"info": {"action_mask": None}}), 0, checks_obs=False)])
    with pytest.raises(IndexError, match="my own") as caught:
        envs.reset()
    assert caught.value.__notes__ == ["(raised by environment 0)"]


class Old(Talkative):
    """Answers as Gym's environments did, or with an info that is not a dict."""

    def __init__(self, reset, step):
        super().__init__()
        self.answers = reset, step

    def reset(self, *, seed=None, options=None):
        return self.answers[0]

    def step(self, action):
        return self.answers[1]


STEP = "must return the 5 values obs, reward, terminated, truncated, info"


@pytest.mark.parametrize(
    ("reset", "step", "words"),
    [
        (0, None, "environment 0 returned 0; reset() must return (obs, info)"),
        (np.zeros(2), None, "environment 0 returned array([0., 0.]); reset() must return (obs, info), info a dict"),
        ({"a": 0}, None, "environment 0 returned {'a': 0}; reset() must return (obs, info)"),
        ((0, None), None, "environment 0 returned (0, None); reset() must return (obs, info), info a dict"),
        ((0, {}), (0, 1.0, False, {}), f"environment 0 returned (0, 1.0, False, {{}}); step() {STEP}"),
        ((0, {}), None, f"environment 0 returned None; step() {STEP}"),
        (
            (0, {}),
            (0, 1.0, False, False, []),
            "environment 0 returned []; step() must return a dict as its fifth value",
        ),
    ],
)
def test_answers_of_another_form_are_one_sentence(reset, step, words):
    envs = SyncCopies([lambda: Copy(Old(reset, step), 0, checks_obs=False)])
    with pytest.raises(UsageError) as caught:
        [envs.reset(), envs.step(np.zeros(1, int))]
    assert str(caught.value).startswith(words)


def test_attributes_of_the_environment_are_those_of_the_copy():
    copy = Copy(gymnasium.Wrapper(Talkative(length=4)), 0)
    assert copy.get_wrapper_attr("length") == 4
    assert copy.env.env.length == Copy(Talkative(length=4), 0).length == 4
    assert not hasattr(copy, "no_such_attribute")


def test_a_copied_observation_shares_no_array():
    array = np.zeros(2)
    obs = {"a": (array, 3), "b": array}
    Dict(a=Tuple([Box(0, 1, (2,)), Discrete(4)]), b=MultiBinary(2))  # whose observation it might be
    kept = copied(obs)
    array[:] = 1
    assert kept["a"][0].tolist() == kept["b"].tolist() == [0, 0]
    assert kept["a"][1] == 3
    tensor, buffer = torch.zeros(2), np.zeros(2)
    kept = copied((tensor, memoryview(buffer), [0.0], "text"))
    tensor[:], buffer[:] = 1, 1
    assert [x.tolist() for x in kept[:2]] == [[0, 0], [0, 0]]
    assert kept[2:] == ((0.0,), "text")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX")
def test_what_an_environment_starts_does_not_inherit_the_mask(monkeypatch):
    masks, make = [], gymnasium.make

    def observed(spec, **kwargs):
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return make(spec, **kwargs)

    monkeypatch.setattr("gymnasium.make", observed)
    with signal_mask(blocked=True):
        make_copies(gymnasium.spec("CartPole-v1"), range(1), {})[0]()
    assert not masks[0] & {signal.SIGINT, signal.SIGTERM}


def test_texts_are_left_out_of_observations():
    envs = SyncCopies(make_copies(EnvSpec("Missions-v0", entry_point=Missions), range(2), {"length": 2}))
    assert envs.single_observation_space == Dict(place=Discrete(9))
    assert envs.reset(seed=0)[0]["place"].tolist() == [0, 0]
    for _ in range(2):
        obs, *_, infos = envs.step(np.zeros(2, int))
    assert list(obs) == list(infos["final_obs"][0]) == ["place"]
    assert dropped(envs) == ("mission",)
    assert dropped(here(1)) == ()
