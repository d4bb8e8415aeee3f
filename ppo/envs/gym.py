"""Gymnasium environments: any id becomes a VectorEnv, or an error says in one sentence why not."""

import contextlib
import copy
import difflib
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import VectorEnv

from ppo.envs import atari
from ppo.envs.atari_arguments import check_game
from ppo.envs.copies import SyncCopies, make_copies
from ppo.envs.families import missing_family, module_of, register_families, takes_data
from ppo.envs.pettingzoo import PREFIX, agents_spec
from ppo.envs.vectorize import sync_or_async
from ppo.envs.workers import Workers
from ppo.envs.wrappers import Wrapper, try_wrappers, with_wrappers
from ppo.errors import UsageError, one_line
from ppo.machine.imports import check_trusted, import_user_module
from ppo.machine.phase import phase
from ppo.numbers import count

NAMED = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)  # kinds of parameters that a name can give


def make_envs(
    env_id: str,
    num_envs: int,
    vectorization: str = "auto",
    env_kwargs: dict[str, Any] | None = None,
    group_size: int = 1,
    render_mode: str | None = None,
    first: int = 0,
    wrappers: Sequence[Wrapper] = (),
    max_episode_steps: int = 0,
) -> VectorEnv:
    """Make N copies of an environment as one VectorEnv.

    Args:
        env_id: a registered id, or "package.module:EnvId-v0" to import the module that registers it first.
        num_envs: N.
        vectorization: "sync", "async", "vector_entry_point" or "envpool"; "auto": the environment's own vector entry point
            if it has one, otherwise sync or async, whichever is faster in a short trial.
        env_kwargs: keyword arguments of the environment.
        group_size: number of neighbouring environments that share a prompt.
        render_mode: as in `gymnasium.make`.
        first: number of the first environment, for messages; other processes step those before it.
        wrappers: around each copy, the first one innermost: ("package.module:Class", its keyword arguments).
        max_episode_steps: Gymnasium's time limit, inside the wrappers; 0: the registered one. One in `env_kwargs` overrides it.

    Raises:
        UsageError: the id is unknown, its family is not installed, or it or a wrapper does not accept its arguments.
    """
    spec = find_spec(env_id)
    if env_kwargs and not takes_data(spec):
        check_trusted(module_of(spec), f"env_id = {env_id!r} with env_kwargs")
    kwargs = dict(env_kwargs or {}) | ({"render_mode": render_mode} if render_mode else {})
    kwargs |= {"group_size": group_size} if group_size > 1 else {}
    _check_ways(spec, vectorization, group_size)
    spec = with_wrappers(spec, wrappers, vectorization)
    if vectorization == "auto" and spec.vector_entry_point is not None and not spec.additional_wrappers:
        vectorization = "vector_entry_point"
    if max_episode_steps:
        kwargs = {"max_episode_steps": _time_limit(spec, vectorization, max_episode_steps)} | kwargs
    with _usage_errors(env_id, spec, kwargs):
        if wrappers:
            try_wrappers(spec, len(wrappers), kwargs)
        return _make(spec, num_envs, vectorization, kwargs, first)


def _check_ways(spec: EnvSpec, vectorization: str, group_size: int) -> None:
    """Refuse a way to make environments that this one does not have.

    Raises:
        UsageError: names it.
    """
    if group_size > 1 and not _takes(spec, "group_size"):
        raise UsageError(
            f"group_size = {group_size} needs an environment that shares prompts; {spec.id} does not",
            "text#without-a-critic",
        )
    if vectorization == "vector_entry_point" and spec.vector_entry_point is None:
        raise UsageError(f"{spec.id} has no vector entry point of its own; use --vectorization sync or async")
    if vectorization in ("sync", "async") and spec.entry_point is None:
        raise UsageError(
            f"{spec.id} is a vector environment without single ones; leave out --vectorization {vectorization}"
        )


def _takes(spec: EnvSpec, parameter: str) -> bool:
    """Return whether an environment's own vector entry point has a parameter."""
    point = spec.vector_entry_point
    make = load_env_creator(point) if isinstance(point, str) else point
    return make is not None and parameter in inspect.signature(make).parameters


def _time_limit(spec: EnvSpec, vectorization: str, steps: int) -> int:
    """Return a time limit that the environments can have.

    Raises:
        UsageError: their own vector environment takes none.
    """
    if vectorization == "vector_entry_point" and not _takes(spec, "max_episode_steps"):
        remedy = "leave it out" if spec.entry_point is None else "use --vectorization sync or async"
        raise UsageError(
            f"max_episode_steps = {steps} cannot be set: the vector environment of {spec.id} takes no time limit; {remedy}"
        )
    return steps


def _make(spec: EnvSpec, num_envs: int, vectorization: str, kwargs: dict[str, Any], first: int) -> VectorEnv:
    """Make the environments; `spec.max_episode_steps` of the result is their actual limit."""
    check_game(spec, kwargs)
    if vectorization == "auto":
        with phase(f"making one {spec.id} to measure its speed"):
            vectorization = sync_or_async(spec, num_envs, kwargs)
    envs: VectorEnv
    if vectorization in ("sync", "async"):  # in SAME_STEP, which has no dead rows; the others have a mode of their own
        makers = make_copies(spec, range(first, first + num_envs), kwargs, checks_obs=vectorization == "async")
        with phase(f"making {count(num_envs, 'environment')}"):
            envs = SyncCopies(makers) if vectorization == "sync" else Workers(spec.id, makers, first)
        (limit, *_) = envs.get_attr("max_episode_steps")
    else:
        limit = (spec.kwargs | kwargs).get("max_episode_steps", spec.max_episode_steps)
        if vectorization == "envpool":
            from ppo.envs.envpool import EnvPool

            envs = EnvPool(spec, num_envs, kwargs)
            limit = envs.pool.spec.config.max_episode_steps
        else:
            envs = gymnasium.make_vec(spec, num_envs, vectorization, **kwargs)
    envs.unwrapped.spec = copy.copy(spec)
    envs.unwrapped.spec.max_episode_steps = limit
    return envs


@contextlib.contextmanager
def _usage_errors(env_id: str, spec: EnvSpec, kwargs: dict[str, Any]) -> Iterator[None]:
    """Turn errors of making an environment that the user can mend into a UsageError."""
    try:
        yield
    except UsageError:
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(f"{env_id} needs a package that is not installed: {error}") from error
    except (gymnasium.error.Error, ImportError) as error:
        raise UsageError(f"{env_id} cannot be made: {one_line(error)}") from error
    except Exception as error:
        if missing := _missing_arguments(spec, kwargs):
            values = " ".join(f"{name} VALUE" for name in missing)
            raise UsageError(f"{env_id} needs {' and '.join(missing)}; use --env-kwargs {values}") from error
        if not kwargs:
            raise
        known = _parameters(spec)
        named = all(p.kind in NAMED for p in known.values())  # it has no **kwargs, which could be anything
        takes = f"; it takes {', '.join(known)}" if "unexpected keyword" in str(error) and known and named else ""
        raise UsageError(f"{env_id} cannot be made with {kwargs}: {_first_line(error)}{takes}") from error


def _first_line(error: Exception) -> str:
    """Return the type and the first line of an error, without what Gymnasium and bindings of C++ add about all arguments."""
    line = (str(error).splitlines() or [""])[0]
    for addition in (" was raised from the environment creator for ", " The following argument types are supported:"):
        line = line.partition(addition)[0]
    return f"{type(error).__name__}: {textwrap.shorten(line, 200, placeholder=' …')}" if line else one_line(error)


def _missing_arguments(spec: EnvSpec, kwargs: dict[str, Any]) -> list[str]:
    """Return the arguments without a default of an environment's entry point that have no value."""
    required = [
        name for name, p in _parameters(spec).items() if p.kind in NAMED and p.default is inspect.Parameter.empty
    ]
    return [name for name in required if name not in spec.kwargs | kwargs]


def _parameters(spec: EnvSpec) -> dict[str, inspect.Parameter]:
    """Return the parameters of an environment's entry point by name."""
    point = spec.entry_point
    make = load_env_creator(point) if isinstance(point, str) else point
    return {} if make is None else dict(inspect.signature(make).parameters)


def find_spec(env_id: str) -> EnvSpec:
    """Return an environment's specification, importing the module or the family that registers it.

    Raises:
        UsageError: the module is missing, the id is unknown, or its family is not installed.
    """
    if env_id.startswith(PREFIX):
        family = missing_family(env_id)
        if family is not None:
            raise UsageError(f"env_id = {env_id!r} belongs to {family.name}, which is not installed: {family.install}")
        return agents_spec(env_id)
    module, _, name = env_id.rpartition(":")
    before = set(gymnasium.registry)
    if module:
        import_user_module(module, f"env_id = {env_id!r}")
    new = set(gymnasium.registry) - before
    faults = register_families(name)
    known = gymnasium.registry.get(name)
    family = missing_family(name, "" if known is None else module_of(known))
    if family is not None:
        raise UsageError(f"env_id = {env_id!r} belongs to {family.name}, which is not installed: {family.install}")
    if reason := atari.refusal(name, gymnasium.registry):
        raise UsageError(reason)
    try:
        spec = gymnasium.spec(name)
        return atari.standard(spec) if atari.is_game(spec) else spec
    except gymnasium.error.Error as error:
        similar = _similar(name)
        ours = [i for i, spec in gymnasium.registry.items() if module and (i in new or module_of(spec) == module)]
        near = [f"{module}:{i}" if i in ours else i for i in similar]
        hint = f"did you mean {', '.join(near)}?" if near else "`ppo envs` lists the installed ones"
        if module and not similar:
            hint = (
                f"module {module} registers {', '.join(ours)}"
                if ours
                else (
                    f"module {module} registers no environment; call gymnasium.register({name!r}, entry_point=…) in it"
                )
            )
        raise UsageError("; ".join([f"env_id = {env_id!r} is unknown", *faults, hint])) from error


def _similar(name: str) -> list[str]:
    """Return ids like a name: other versions of it and those of other namespaces, otherwise at most three near ones."""

    def base(env_id: str) -> str:
        return env_id.rpartition("/")[2].partition("-v")[0].removesuffix("NoFrameskip").lower()

    usable = [env_id for env_id in gymnasium.registry if not atari.refusal(env_id, gymnasium.registry)]
    near = difflib.get_close_matches(name, usable, n=3, cutoff=0.7)
    same = [env_id for env_id in usable if env_id.rpartition("/")[2] == name]
    versions = [env_id for env_id in near if env_id.split("-v")[0] == name.split("-v")[0]]
    return versions + same or near or [env_id for env_id in usable if base(env_id) == base(name)][-3:]
