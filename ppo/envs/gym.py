"""Gymnasium environments: any id becomes a VectorEnv, or an error says in one sentence why not."""

import contextlib
import difflib
import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

from ppo.envs.action_mask import expose_mask
from ppo.envs.families import missing_family, module_of, register_family, takes_data
from ppo.envs.sync import LeanSyncVectorEnv
from ppo.envs.text_env import text_env
from ppo.envs.vectorize import sync_or_async
from ppo.envs.workers import Workers
from ppo.errors import UsageError, one_line
from ppo.machine.imports import check_trusted, import_user_module


def make_envs(
    env_id: str,
    num_envs: int,
    vectorization: str = "auto",
    env_kwargs: dict[str, Any] | None = None,
    group_size: int = 1,
    render_mode: str | None = None,
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

    Raises:
        UsageError: the id is unknown, its family is not installed, or it does not accept its arguments.
    """
    spec = find_spec(env_id)
    if env_kwargs and not takes_data(spec):
        check_trusted(module_of(spec), f"env_id = {env_id!r} with env_kwargs")
    kwargs = dict(env_kwargs or {}) | ({"render_mode": render_mode} if render_mode else {})
    if group_size > 1:
        if not _takes_group_size(spec):
            raise UsageError(f"group_size = {group_size} needs an environment that shares prompts; {env_id} does not")
        kwargs["group_size"] = group_size
    if vectorization == "vector_entry_point" and spec.vector_entry_point is None:
        raise UsageError(f"{env_id} has no vector entry point of its own; use --vectorization sync or async")
    with _usage_errors(env_id, kwargs):
        if vectorization == "envpool":
            from ppo.envs.envpool import EnvPool

            return EnvPool(spec, num_envs, kwargs)
        mode: str | None = vectorization
        if mode == "auto":
            own = spec.vector_entry_point is not None and not spec.additional_wrappers
            mode = None if own else sync_or_async(spec, num_envs, kwargs)
        return _make_vec(spec, num_envs, mode, kwargs)


def _takes_group_size(spec: EnvSpec) -> bool:
    """Return whether an environment's own vector entry point has a parameter group_size."""
    point = spec.vector_entry_point
    make = load_env_creator(point) if isinstance(point, str) else point
    return make is not None and "group_size" in inspect.signature(make).parameters


def _make_vec(spec: EnvSpec, num_envs: int, mode: str | None, kwargs: dict[str, Any]) -> VectorEnv:
    # SAME_STEP where we can choose, because it has no dead rows; a vector entry point has its own mode.
    if mode == "sync":
        return LeanSyncVectorEnv(spec, num_envs, kwargs)
    if mode == "async":
        return Workers(spec, num_envs, kwargs)
    return gymnasium.make_vec(spec, num_envs, mode, **kwargs)


@contextlib.contextmanager
def _usage_errors(env_id: str, kwargs: dict[str, Any]) -> Iterator[None]:
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
        if not kwargs:
            raise
        raise UsageError(f"{env_id} cannot be made with {kwargs}: {one_line(error)}") from error


def find_spec(env_id: str) -> EnvSpec:
    """Return an environment's specification, importing the module or the family that registers it.

    Raises:
        UsageError: the module is missing, the id is unknown, or its family is not installed.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_user_module(module, f"env_id = {env_id!r}")
    register_family(name)
    known = gymnasium.registry.get(name)
    family = missing_family(name, "" if known is None else module_of(known))
    if family is not None:
        raise UsageError(f"env_id = {env_id!r} belongs to {family.name}, which is not installed: {family.install}")
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        similar = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.7)
        versions = [n for n in similar if n.split("-v")[0] == name.split("-v")[0]]
        hint = f"did you mean {', '.join(versions or similar)}?" if similar else "`ppo envs` lists the installed ones"
        raise UsageError(f"env_id = {env_id!r} is unknown; {hint}") from error


def check_envs(envs: VectorEnv, group_size: int = 1) -> VectorEnv:
    """Check environments, and put their action mask, if there is one, into the observation.

    Raises:
        UsageError: the autoreset mode is missing, or the groups have another size.
    """
    autoreset_mode(envs)
    text = text_env(envs)
    actual = 1 if text is None else text.group_size
    if actual != group_size:
        raise UsageError(
            f"group_size = {group_size}, but the environments were made with group_size = {actual}; use the same value"
        )
    return expose_mask(envs)


def autoreset_mode(envs: VectorEnv) -> AutoresetMode:
    """Return how a VectorEnv resets environments after an episode.

    Raises:
        UsageError: `metadata["autoreset_mode"]` is missing or unknown; a wrong guess would corrupt the advantages.
    """
    mode = envs.metadata.get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError as error:
        raise UsageError(
            f"{type(envs.unwrapped).__name__}.metadata['autoreset_mode'] is {mode!r}; set it to the "
            "gymnasium.vector.AutoresetMode that its step() follows, or use --vectorization sync"
        ) from error


def time_limit(envs: VectorEnv) -> int:
    """Return the number of steps after which an environment truncates an episode, 0 if it has no limit."""
    return (envs.spec.max_episode_steps if envs.spec is not None else None) or 0


def lines_of(envs: VectorEnv) -> list[str]:
    """Return a line for each sample of a text environment; of others, none."""
    text = text_env(envs)
    return [] if text is None else list(text.render())
