"""Environment families: a missing package is named together with the command that installs it."""

import configparser
import re
import sys
from functools import partial
from pathlib import Path

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from ppo.envs import families, find_spec, make_envs, module_of
from ppo.envs.families import FAMILIES, Family, missing_family
from ppo.errors import UsageError


@pytest.mark.parametrize(
    ("env_id", "install"),
    [
        ("ALE/Pong-v5", 'pip install -e ".[atari]"'),
        ("PongNoFrameskip-v4", 'pip install -e ".[atari]"'),
        ("MiniGrid-Empty-5x5-v0", "pip install minigrid"),
        ("MinAtar/Breakout-v1", "pip install minatar"),
        ("VizdoomBasic-v1", "pip install vizdoom"),
        ("parking-v0", "pip install highway-env"),
        ("AntMaze_UMaze-v5", "pip install gymnasium-robotics"),
        ("PointMaze_UMaze-v3", "pip install gymnasium-robotics"),
        ("HandReach-v3", "pip install gymnasium-robotics"),
        ("FrankaKitchen-v1", "pip install gymnasium-robotics"),
        ("phys2d/CartPole-v1", 'pip install "gymnasium[jax]"'),
        ("dm_control/walker-walk-v0", 'pip install "shimmy[dm-control]" "mujoco<4"'),
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


@pytest.fixture
def arcade(tmp_path, monkeypatch):
    """A family of packages: one registers Snake-v0 by a function, one cannot be imported, one is not needed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "arcade_games.py").write_text(
        "import gymnasium\ndef register_all():\n    gymnasium.register('Snake-v0', 'arcade_games:Snake')\n"
    )
    (tmp_path / "arcade_broken.py").write_text("import no_such_module")
    (tmp_path / "arcade_other.py").write_text("import sys\nprint('a notice', file=sys.stderr)")
    names = {"arcade_other": "Other", "arcade_broken": "Broken", "arcade_games:register_all": "Arcade/"}
    some = [Family(ids, name.partition(":")[0], ids, name, "pip install arcade") for name, ids in names.items()]
    monkeypatch.setattr(families, "FAMILIES", some)
    yield
    gymnasium.registry.pop("Snake-v0", None)
    for name in ("arcade_games", "arcade_broken", "arcade_other"):
        sys.modules.pop(name, None)


def test_every_installed_family_is_imported_before_an_id_is_unknown(arcade, capsys):
    assert find_spec("Snake-v0").entry_point == "arcade_games:Snake"
    assert "arcade_other" in sys.modules
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError) as error:
        make_envs("Snaky-v0", 1)
    assert str(error.value) == (
        "env_id = 'Snaky-v0' is unknown; Broken cannot be imported (ModuleNotFoundError: No module named 'no_such_module'); did "
        "you mean Snake-v0?"
    )


def test_an_id_that_is_known_imports_nothing_and_one_that_looks_like_a_family_only_that_one(arcade):
    find_spec("CartPole-v1")
    assert not {"arcade_games", "arcade_broken", "arcade_other"} & set(sys.modules)
    gymnasium.registry.pop("Arcade/Pac-v0", None)
    with pytest.raises(UsageError):
        find_spec("Other")
    assert list(sys.modules).index("arcade_other") < list(sys.modules).index("arcade_games")


def test_an_installed_family_is_not_missing():
    assert missing_family("CartPole-v1", "gymnasium.envs.classic_control.cartpole:CartPoleEnv") is None
    assert missing_family("Unknown-v0") is None


@pytest.mark.parametrize(
    ("entry_point", "module"),
    [
        ("a.b:Env", "a.b:Env"),
        (EnvSpec, "gymnasium.envs.registration"),
        (partial(partial(EnvSpec, "Some-v0"), None), "gymnasium.envs.registration"),
        (None, ""),
    ],
)
def test_the_module_of_an_environment_is_that_of_its_entry_point(entry_point, module):
    assert module_of(EnvSpec("Some-v0", entry_point=entry_point)) == module


def test_an_extra_that_installs_a_family_is_one_of_this_project():
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    extras = [name for family in FAMILIES for name in re.findall(r'-e "\.\[(\w+)\]"', family.install)]
    assert extras == ["box2d", "mujoco", "atari", "pettingzoo"]
    assert set(extras) <= set(config["options.extras_require"])
