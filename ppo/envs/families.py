"""Environment families: their names, their ids, the package each needs, and the command that installs it."""

import contextlib
import functools
import importlib
import io
import re
import warnings
from dataclasses import dataclass

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ppo.errors import extra, one_line
from ppo.machine.imports import is_installed


@dataclass(frozen=True)
class Family:
    """A group of environments that are installed together."""

    name: str
    entry_points: str  # prefix of the modules that hold its environments
    ids: str  # regular expression for the ids that it registers; "" if Gymnasium itself does
    requires: str  # the module that registers them, or "module:function" if a function does
    install: str

    @property
    def installed(self) -> bool:
        """Whether the required module is installed; this does not import it."""
        return is_installed(self.requires.partition(":")[0])

    def owns(self, env_id: str) -> bool:
        """Return whether an id looks like one that this family registers."""
        return bool(self.ids and re.match(self.ids, env_id))

    def register(self) -> None:
        """Register its environments with Gymnasium: by an import, and by a call if that is not enough."""
        module, _, function = self.requires.partition(":")
        with warnings.catch_warnings(action="ignore"):  # which a package gives about itself
            imported = importlib.import_module(module)
        if function and not any(module_of(spec).startswith(self.entry_points) for spec in gymnasium.registry.values()):
            getattr(imported, function)()


FAMILIES = (
    Family("Classic control", "gymnasium.envs.classic_control", "", "gymnasium", "pip install gymnasium"),
    Family("Toy text", "gymnasium.envs.toy_text", "", "gymnasium", "pip install gymnasium"),
    Family("Text", "ppo.text", "text/", "ppo.text", "pip install -e ."),
    Family("Tabular", "ppo.envs.traffic_light", "TrafficLight", "ppo.envs.traffic_light", "pip install -e ."),
    Family("Box2D", "gymnasium.envs.box2d", "", "Box2D", extra("box2d")),
    Family("MuJoCo", "gymnasium.envs.mujoco", "", "mujoco", extra("mujoco")),
    Family("Atari", "ale_py", r"ALE/|\w+(NoFrameskip|Deterministic|-ram)", "ale_py", extra("atari")),
    Family("JAX physics", "gymnasium.envs.phys2d", "", "flax", 'pip install "gymnasium[jax]"'),
    Family("JAX tabular", "gymnasium.envs.tabular", "", "flax", 'pip install "gymnasium[jax]"'),
    Family("MiniGrid", "minigrid", "MiniGrid-|BabyAI-", "minigrid", "pip install minigrid"),
    Family("MinAtar", "minatar", "MinAtar/", "minatar.gym:register_envs", "pip install minatar"),
    Family("ViZDoom", "vizdoom", "Vizdoom", "vizdoom.gymnasium_wrapper", "pip install vizdoom"),
    Family("Highway", "highway_env", r"(exit|highway|intersection|lane-keeping|merge|parking|racetrack|roundabout|two-way|u-turn)-",
           "highway_env", "pip install highway-env"),
    Family("Robotics", "gymnasium_robotics", "Fetch|Hand[RM]|Adroit|FrankaKitchen|(Ant|Point)Maze_", "gymnasium_robotics",
           "pip install gymnasium-robotics"),
    Family("DeepMind Control", "shimmy.registration", "dm_control/", "shimmy", 'pip install "shimmy[dm-control]" "mujoco<4"'),
    Family("PettingZoo", "ppo.envs.pettingzoo", "pettingzoo:", "pettingzoo", extra("pettingzoo")),
)  # fmt: skip


def module_of(spec: EnvSpec) -> str:
    """Return the module of an environment's entry point."""
    point = spec.entry_point or spec.vector_entry_point
    while isinstance(point, functools.partial):
        point = point.func
    return point if isinstance(point, str) else getattr(point, "__module__", "")


def takes_data(spec: EnvSpec) -> bool:
    """Return whether an environment's arguments are data; other packages may import what an argument names."""
    return module_of(spec).partition(":")[0].partition(".")[0] in ("ppo", "gymnasium", "ale_py")


def register_families(env_id: str) -> list[str]:
    """Register installed families until one of them has an id, beginning with the one that it looks like.

    Returns:
        For each family that cannot be imported, what its import raises.
    """
    faults = []
    for family in sorted(FAMILIES, key=lambda family: not family.owns(env_id)):
        if env_id in gymnasium.registry:
            return []
        if family.ids and family.installed:
            notices = contextlib.nullcontext() if family.owns(env_id) else contextlib.redirect_stderr(io.StringIO())
            try:
                with notices:  # of packages that the user has not named
                    family.register()
            except Exception as error:  # of another package
                faults.append(f"{family.name} cannot be imported ({one_line(error)})")
    return faults


def missing_family(env_id: str, entry_point: str = "") -> Family | None:
    """Return the family of an environment if that family is not installed."""
    for family in FAMILIES:
        belongs = entry_point.startswith(family.entry_points) or family.owns(env_id)
        if belongs and not family.installed:
            return family
    return None
