"""Environment families: their names, their ids, the package each needs, and the command that installs it."""

import importlib
import re
from dataclasses import dataclass

from gymnasium.envs.registration import EnvSpec

from ppo.machine.imports import is_installed


@dataclass(frozen=True)
class Family:
    """A group of environments that are installed together."""

    name: str
    entry_points: str  # prefix of the modules that hold its environments
    ids: str  # regular expression for ids that Gymnasium knows only after the package is imported
    requires: str  # the module that must be importable
    install: str

    @property
    def installed(self) -> bool:
        """Whether the required module is installed; this does not import it."""
        return is_installed(self.requires)


def _extra(name: str) -> str:
    """Return the command that installs an extra of this project from its folder; setup.cfg lists them."""
    return f'pip install -e ".[{name}]"'


FAMILIES = (
    Family("Classic control", "gymnasium.envs.classic_control", "", "gymnasium", "pip install gymnasium"),
    Family("Toy text", "gymnasium.envs.toy_text", "", "gymnasium", "pip install gymnasium"),
    Family("Text", "ppo.text", "text/", "ppo.text", "pip install ppo"),
    Family("Tabular", "ppo.envs.traffic_light", "TrafficLight", "ppo.envs.traffic_light", "pip install ppo"),
    Family("Box2D", "gymnasium.envs.box2d", "", "Box2D", _extra("box2d")),
    Family("MuJoCo", "gymnasium.envs.mujoco", "", "mujoco", _extra("mujoco")),
    Family("Atari", "ale_py", r"ALE/|\w+(NoFrameskip|Deterministic|-ram)", "ale_py", _extra("atari")),
    Family("JAX physics", "gymnasium.envs.phys2d", "", "flax", 'pip install "gymnasium[jax]"'),
    Family("JAX tabular", "gymnasium.envs.tabular", "", "flax", 'pip install "gymnasium[jax]"'),
    Family("MiniGrid", "minigrid", "MiniGrid-|BabyAI-", "minigrid", "pip install minigrid"),
    Family("Highway", "highway_env", "highway-|merge-|roundabout-", "highway_env", "pip install highway-env"),
    Family("Robotics", "gymnasium_robotics", "Fetch|Adroit", "gymnasium_robotics", "pip install gymnasium-robotics"),
)  # fmt: skip


def module_of(spec: EnvSpec) -> str:
    """Return the module of an environment's entry point."""
    point = spec.entry_point or spec.vector_entry_point
    return point if isinstance(point, str) else getattr(point, "__module__", "")


def takes_data(spec: EnvSpec) -> bool:
    """Return whether an environment's arguments are data; other packages may import what an argument names."""
    return module_of(spec).partition(":")[0].partition(".")[0] in ("ppo", "gymnasium", "ale_py")


def register_family(env_id: str) -> None:
    """Import the package that registers an id, if it is installed and Gymnasium does not import it."""
    for family in FAMILIES:
        if family.ids and re.match(family.ids, env_id) and family.installed:
            importlib.import_module(family.requires)


def missing_family(env_id: str, entry_point: str = "") -> Family | None:
    """Return the family of an environment if that family is not installed."""
    for family in FAMILIES:
        belongs = entry_point.startswith(family.entry_points) or (family.ids and re.match(family.ids, env_id))
        if belongs and not family.installed:
            return family
    return None
