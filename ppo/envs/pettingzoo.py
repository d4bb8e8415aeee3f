"""PettingZoo's environments by name: parallel ones, and those whose agents take turns by conversion."""

import importlib.machinery
import importlib.util
from types import ModuleType
from typing import Any

from gymnasium.envs.registration import EnvSpec

from ppo.envs.agents import PAGE, Agents
from ppo.errors import UsageError
from ppo.machine.imports import import_user_module, is_installed

PREFIX = "pettingzoo:"
CRITICS = "own", "all"


def agents_spec(env_id: str) -> EnvSpec:
    """Return the specification of `pettingzoo:PACKAGE/NAME`, the environment of the module PACKAGE.NAME or pettingzoo.PACKAGE.NAME.

    Raises:
        UsageError: there is no such module, or it makes no environment.
    """
    name = env_id.removeprefix(PREFIX).replace("/", ".")
    if not name:
        raise UsageError(f"env_id = {env_id!r} names no environment; for example {PREFIX}mpe2/simple_spread_v3", PAGE)
    inside = is_installed("pettingzoo") and not _exists(name)
    top, *rest = name.split(".")
    if inside and rest and _exists(top) and not _exists(f"pettingzoo.{name}"):
        raise UsageError(f"env_id = {env_id!r}: {top} has no module {'.'.join(rest)}, and pettingzoo no {name}", PAGE)
    source = f"env_id = {env_id!r} (the module {name}, or pettingzoo.{name})"
    module = import_user_module(f"pettingzoo.{name}" if inside else name, source)
    if not any(hasattr(module, function) for function in ("parallel_env", "env")):
        raise UsageError(
            f"the module {module.__name__} has neither parallel_env nor env, which make an environment", PAGE
        )

    def make(num_envs: int = 1, critic: str = "own", pad: bool = False, **kwargs: Any) -> Agents:
        if critic not in CRITICS:
            raise UsageError(f"critic = {critic!r} is unknown; choose {' or '.join(CRITICS)}", PAGE)
        if not isinstance(pad, bool):
            raise UsageError(f"pad = {pad!r} is unknown; choose true or false", PAGE)
        return Agents(lambda: make_parallel(module, pad, kwargs), num_envs, env_id, critic == "all")

    return EnvSpec(env_id, vector_entry_point=make)


def _exists(name: str) -> bool:
    """Return whether there is a module of this name, without importing any; a folder of the name alone is none."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    for part in rest:
        places = spec and spec.submodule_search_locations
        spec = importlib.machinery.PathFinder.find_spec(f"{top}.{part}", places) if places else None  # by the last part
    return spec is not None and spec.origin is not None


def make_parallel(module: ModuleType, pad: bool, kwargs: dict[str, Any]) -> Any:
    """Return a parallel environment of a module; one whose agents take turns is converted by PettingZoo.

    Args:
        module: with parallel_env or env.
        pad: let SuperSuit pad observations and actions to those of the largest agent.
        kwargs: of the environment.

    Raises:
        UsageError: SuperSuit is missing, or the environment cannot be converted.
    """
    if hasattr(module, "parallel_env"):
        env = module.parallel_env(**kwargs)
    else:
        from pettingzoo.utils.conversions import aec_to_parallel

        turns = module.env(**kwargs)
        if not turns.metadata.get("is_parallelizable", False):
            raise UsageError(
                f"the agents of {module.__name__} take turns and cannot act at once (is_parallelizable is not True); choose another "
                "environment",
                PAGE,
            )
        env = aec_to_parallel(turns)
    if pad:
        if not is_installed("supersuit"):
            raise UsageError("pad needs SuperSuit: pip install supersuit")
        import supersuit

        env = supersuit.pad_action_space_v0(supersuit.pad_observations_v0(env))
    return env
