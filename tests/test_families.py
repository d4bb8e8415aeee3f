"""Environment families: a missing package is named together with the command that installs it."""

import configparser
import re
from pathlib import Path

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from ppo.envs import families, make_envs, module_of
from ppo.envs.families import FAMILIES, missing_family
from ppo.errors import UsageError


@pytest.mark.parametrize(
    ("env_id", "install"),
    [
        ("ALE/Pong-v5", 'pip install -e ".[atari]"'),
        ("PongNoFrameskip-v4", 'pip install -e ".[atari]"'),
        ("MiniGrid-Empty-5x5-v0", "pip install minigrid"),
        ("phys2d/CartPole-v1", 'pip install "gymnasium[jax]"'),
        ("HalfCheetah-v5", 'pip install -e ".[mujoco]"'),
        ("LunarLander-v3", 'pip install -e ".[box2d]"'),
    ],
)
def test_the_id_of_a_family_that_is_not_installed_gives_the_line_that_installs_it(env_id, install, monkeypatch):
    monkeypatch.setattr(families, "is_installed", lambda name: name == "gymnasium")
    with pytest.raises(UsageError) as error:
        make_envs(env_id, 2)
    message = str(error.value)
    assert repr(env_id) in message
    assert message.endswith(f"not installed: {install}")


def test_every_installed_environment_of_gymnasium_belongs_to_one_family():
    for env_id in (
        "CartPole-v1",
        "Taxi-v4",
        "LunarLander-v3",
        "HalfCheetah-v5",
        "phys2d/CartPole-v1",
        "tabular/CliffWalking-v0",
    ):
        module = module_of(gymnasium.registry[env_id])
        assert sum(module.startswith(family.entry_points) for family in FAMILIES) == 1, env_id


def test_ids_that_gymnasium_does_not_know_belong_to_the_family_that_registers_them():
    names = {
        "ALE/Pong-v5": "Atari",
        "MiniGrid-Empty-5x5-v0": "MiniGrid",
        "FetchReach-v4": "Robotics",
        "highway-v0": "Highway",
    }
    for env_id, name in names.items():
        assert [family.name for family in FAMILIES if family.ids and re.match(family.ids, env_id)] == [name]


def test_an_installed_family_is_not_missing():
    assert missing_family("CartPole-v1", "gymnasium.envs.classic_control.cartpole:CartPoleEnv") is None
    assert missing_family("Unknown-v0") is None


@pytest.mark.parametrize(
    ("entry_point", "module"), [("a.b:Env", "a.b:Env"), (EnvSpec, "gymnasium.envs.registration"), (None, "")]
)
def test_the_module_of_an_environment_is_that_of_its_entry_point(entry_point, module):
    assert module_of(EnvSpec("Some-v0", entry_point=entry_point)) == module


def test_an_extra_that_installs_a_family_is_one_of_this_project():
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    extras = [name for family in FAMILIES for name in re.findall(r'-e "\.\[(\w+)\]"', family.install)]
    assert extras == ["box2d", "mujoco", "atari"]
    assert set(extras) <= set(config["options.extras_require"])
