"""The check of an environment before training on it, and the list of families."""

import itertools

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete

from ppo.check import check, list_families
from ppo.config.presets import FAMILIES
from ppo.envs import families
from ppo.errors import UsageError
from ppo.machine.phase import listening

torch.set_num_threads(1)
NAMES = (
    "environment", "observation", "action", "action mask", "autoreset", "finite", "episodes", "rewards", "determinism",
    "speed", "would train",
)  # fmt: skip
SAME = "the same seed gives the same episodes"


class Blinking(gymnasium.Env):
    """Episodes of `length` steps; what it shows and gives at a step is in the hands of the test."""

    observation_space, action_space = Box(-9, 9, (1,), np.float32), Discrete(2)

    def __init__(self, length=4, cut=False, both=False, shows=lambda time: 0.0, gives=lambda time: time):
        self.length, self.cut, self.both, self.shows, self.gives = length, cut, both, shows, gives

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.array([self.shows(0)], np.float32), {}

    def step(self, action):
        self.time += 1
        done = self.time == self.length
        obs = np.array([self.shows(self.time)], np.float32)
        return obs, float(self.gives(self.time)), done and not self.cut, done and (self.cut or self.both), {}


@pytest.fixture
def blinking(monkeypatch):
    """Register the environment with the arguments given and return the findings about it."""

    def run(num_envs=2, steps=20, **kwargs):
        monkeypatch.setitem(gymnasium.registry, "Blinking-v0", EnvSpec("Blinking-v0", Blinking, kwargs=kwargs))
        return dict(check("Blinking-v0", num_envs, steps))

    return run


@pytest.mark.parametrize(
    ("env_id", "steps", "expected"),
    [
        (
            "CartPole-v1",
            60,
            {"action": "Discrete(2)", "autoreset": "NextStep", "rewards": "from 1 to 1, mean 1", "action mask": "none"},
        ),
        (
            "Pendulum-v1",
            450,  # episodes of 200 steps, which nothing but the time limit ends
            {
                "observation": "Box([-1. -1. -8.], [1. 1. 8.], (3,), float32)",
                "action": "Box(-2.0, 2.0, (1,), float32)",
                "autoreset": "SameStep",
                "finite": "observations and rewards of 900 random steps are all finite",
                "episodes": "4 ended in 450 steps of 2 environments: 0 terminated, 4 truncated; mean length 200",
            },
        ),
        ("LunarLander-v3", 40, {"action": "Discrete(4)", "autoreset": "SameStep"}),
        ("FrozenLake-v1", 40, {"observation": "Discrete(16)", "action": "Discrete(4)"}),
        (
            "Blackjack-v1",
            30,
            {"observation": "Tuple(Discrete(32), Discrete(11), Discrete(2))", "action": "Discrete(2)"},
        ),
        (
            "Taxi-v4",
            30,
            {"action": "Discrete(6)", "action mask": "yes; masked actions are never sampled"},
        ),
        (
            "HalfCheetah-v5",
            30,
            {
                "observation": "Box(-inf, inf, (17,), float64)",
                "action": "Box(-1.0, 1.0, (6,), float32)",
                "episodes": "0 ended in 30 steps of 2 environments: 0 terminated, 0 truncated; no episode is that short",
            },
        ),
    ],
)
def test_the_findings_about_known_environments_are_right(env_id, steps, expected):
    found = dict(check(env_id, num_envs=2, steps=steps))
    assert tuple(found) == NAMES
    assert {name: found[name] for name in expected} == expected
    assert found["environment"].startswith(f"{env_id}: 2 x ")
    assert found["determinism"] == SAME
    assert all(len(text.splitlines()) == 1 for text in found.values())


@pytest.mark.parametrize(
    ("how", "counts"),
    [
        ({}, "10 terminated, 0 truncated"),
        ({"cut": True}, "0 terminated, 10 truncated"),
        ({"both": True}, "10 terminated (of which 10 also truncated, which changes nothing), 0 truncated"),
    ],
)
def test_episodes_are_counted_by_how_they_end(blinking, how, counts):
    found = blinking(**how)
    assert found["episodes"] == f"10 ended in 20 steps of 2 environments: {counts}; mean length 4"
    assert found["rewards"] == "from 1 to 4, mean 2.5"


def test_the_dead_steps_of_next_step_environments_count_for_nothing():
    found = dict(check("CartPole-v1", num_envs=1, steps=200))
    ended = int(found["episodes"].split()[0])
    assert ended > 3
    assert f"{ended} terminated, 0 truncated" in found["episodes"]
    valid = int(found["finite"].split()[4])
    assert valid in (200 - ended, 200 - ended + 1)  # the last episode may have ended in the last step
    assert found["rewards"] == "from 1 to 1, mean 1"  # a dead step's reward is 0


@pytest.mark.parametrize("what", ["shows", "gives"])
def test_an_environment_that_its_seed_does_not_determine_is_told(blinking, what):
    spring = itertools.count()
    assert blinking(**{what: lambda time: next(spring) / 1000})["determinism"].startswith("NO")
    assert blinking(**{what: lambda time: time / 1000})["determinism"] == SAME


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (
            {"shows": lambda time: np.nan if time == 3 else 0.0},
            "an observation of environment 0 at step 3 since the environments were reset is nan",
        ),
        (
            {"gives": lambda time: np.inf if time == 2 else 0.0},
            "the reward of environment 0 at step 1 since the environments were reset is inf, which is not finite",
        ),
    ],
)
def test_an_environment_whose_numbers_are_not_finite_is_refused_with_where_they_arose(blinking, options, where):
    with pytest.raises(UsageError) as caught:
        blinking(**options)
    assert "Blinking-v0 returns numbers that cannot be trained on" in str(caught.value)
    assert where in str(caught.value)


def test_numbers_outside_their_bounds_are_told(blinking):
    found = blinking(shows=lambda time: 3.5 * time)
    assert (
        found["bounds"] == "an observation has 10.5 in entry 0, outside its bounds -9 … 9, which training does not use"
    )
    assert "images" not in found


@pytest.mark.parametrize(
    ("space", "used"),
    [
        (Box(-1, 0, (40, 40, 3), np.float32), None),
        (Box(1, 2, (40, 40, 3), np.float32), "by which it is divided; correct them"),
        (Box(1, 2, (40, 40, 3), np.uint8), "by which it is divided; correct them"),
    ],
    ids=str,
)
def test_the_bounds_of_an_image_are_used(monkeypatch, space, used):
    register_images(monkeypatch, space)  # it shows zeros
    found = dict(check("Painted-v0", 1, 5)).get("bounds")
    assert found == (used and f"an observation has 0 in entry 0, outside its bounds 1 … 2, {used}")


def register_images(monkeypatch, space):
    """Register an environment that shows nothing but black."""

    class Painted(Blinking):
        observation_space = space

        def reset(self, **_):
            return np.zeros(space.shape, space.dtype), {}

        def step(self, action):
            return np.zeros(space.shape, space.dtype), 1.0, False, False, {}

    monkeypatch.setitem(gymnasium.registry, "Painted-v0", EnvSpec("Painted-v0", Painted))


def test_images_that_are_not_convolved_are_told(monkeypatch):
    register_images(monkeypatch, Box(0, 9, (40, 40, 1), np.int32))
    assert dict(check("Painted-v0", 1, 5))["images"] == (
        "(40, 40, 1) int32 is read as flat numbers: it is int32, and an image is uint8, bool, or floats with bounds"
    )


def test_images_are_resized_as_in_training(monkeypatch):
    register_images(monkeypatch, Box(0, 255, (120, 160, 3), np.uint8))
    wide, small = (dict(check("Painted-v0", 1, 5, resize=side))["images"] for side in (None, 84))
    assert wide == (
        "(120, 160, 3) uint8 is read as 120 x 160 with 3 channels by the convolutions of Mnih et al. 2015; --resize 84 makes it smaller, "
        "as is usual"
    )
    assert small == "(120, 160, 3) uint8 is read as 84 x 84 with 3 channels by the convolutions of Mnih et al. 2015"
    monkeypatch.setitem(FAMILIES, "test_check", {"resize": 84})  # of the preset
    assert dict(check("Painted-v0", 1, 5))["images"] == small


def test_a_mask_that_comes_only_with_a_step_is_refused(blinking, monkeypatch):
    step = Blinking.step
    monkeypatch.setattr(Blinking, "step", lambda self, action: (*step(self, action)[:4], {"action_mask": np.ones(2)}))
    with pytest.raises(UsageError, match=r"environment 0 gives info\['action_mask'\] but gave none at first"):
        blinking()


def test_what_would_be_trained_comes_from_the_preset():
    found = dict(check("CartPole-v1", num_envs=1, steps=10))["would train"]
    assert found.startswith("mlp policy, preset ppo + CartPole: 8 environments x 16 steps, 10 epochs x 1 minibatch,")
    assert "100,000 steps" in found
    assert dict(check("FrozenLake-v1", num_envs=1, steps=10))["would train"].startswith("mlp policy, preset ppo + toy")


def test_an_unknown_environment_is_refused():
    with pytest.raises(UsageError, match="did you mean CartPole-v1"):
        list(check("CartPol-v1"))


def test_families_are_listed_with_what_they_would_train():
    listed = {(family, text): ids for family, text, ids in list_families()}
    assert listed["Classic control", "preset ppo + CartPole: mlp policy, 100,000 steps"] == [
        "CartPole-v0",
        "CartPole-v1",
    ]
    assert "FrozenLake8x8-v1" in listed["Toy text", "preset ppo + toy_text: mlp policy, 500,000 steps"]
    assert listed["Box2D", "preset ppo + CarRacing: cnn policy, 1,000,000 steps"] == ["CarRacing-v3"]
    assert "BipedalWalker-v3" in listed["Box2D", "preset ppo + box2d: mlp policy, 1,000,000 steps"]
    assert listed["Text", "preset ppo + text/NextToken: gru policy, 4,000,000 steps"] == ["text/NextToken-v0"]
    mujoco = listed["MuJoCo", "preset ppo + mujoco: mlp policy, 1,000,000 steps"]
    assert "HalfCheetah-v5" in mujoco
    assert "HalfCheetah-v2" not in mujoco  # which cannot be made


def test_families_are_found_by_a_part_of_their_name():
    assert {family for family, _, _ in list_families("grid")} == {"MiniGrid"}
    with pytest.raises(UsageError, match="there is no family 'Maze' of environments; choose Classic control, Toy text"):
        list(list_families("Maze"))


def test_families_that_are_missing_are_listed_with_the_line_that_installs_them(monkeypatch):
    monkeypatch.setattr(families, "is_installed", lambda name: name not in ("ale_py", "minigrid"))
    monkeypatch.setattr("ppo.check.FAMILIES", [f for f in families.FAMILIES if f.name in ("Atari", "MiniGrid")])
    assert list(list_families()) == [
        ("Atari", 'not installed: pip install -e ".[atari]"', []),
        ("MiniGrid", "not installed: pip install minigrid", []),
    ]


def test_a_family_is_listed_by_the_first_of_its_environments_that_can_be_made(monkeypatch):
    def broken():
        raise gymnasium.error.DependencyNotInstalled("run `pip install engine`")

    broken.__module__ = "arcade"
    made = type("Made", (Blinking,), {"__module__": "arcade"})
    entries = {"Old-v0": broken, "New-v1": made}
    for env_id in entries:
        monkeypatch.setitem(gymnasium.registry, env_id, EnvSpec(env_id, entries[env_id]))
    family = families.Family("Arcade", "arcade", "", "gymnasium", "")
    monkeypatch.setattr("ppo.check.FAMILIES", [family])
    assert list(list_families()) == [
        ("Arcade", "preset ppo + general: mlp policy, 500,000 steps", ["Old-v0", "New-v1"])
    ]
    monkeypatch.delitem(gymnasium.registry, "New-v1")
    (only,) = list_families()
    assert only[1].startswith(
        "preset ppo + general: none can be made (Old-v0 needs a package that is not installed: run `pip"
    )


def test_what_would_train_follows_the_arguments():
    found = dict(check("LunarLander-v3", 1, 20, {"continuous": True}, "a2c", "gru"))
    assert found["action"].startswith("Box(")
    assert found["would train"].startswith("gru policy, preset a2c + box2d")


def test_a_text_that_is_left_out_is_noted_as_in_training(monkeypatch):
    monkeypatch.setattr("ppo.envs.vector.dropped", lambda envs: ("mission",))
    note = "mission of the observation is text, which no policy reads; it is left out"
    assert dict(check("CartPole-v1", 1, 2))["note"] == note


def test_a_discount_that_looks_beyond_the_time_limit_is_noted():
    assert "truncated after 20:" in dict(check("CartPole-v1", 1, 2, max_episode_steps=20))["note"]
    assert "note" not in dict(check("CartPole-v1", 1, 2))


def test_the_random_steps_are_a_phase():
    texts = []
    with listening(texts.append):
        list(check("CartPole-v1", 2, 3))
    assert "taking 3 random steps in each of 2 environments, twice" in texts
