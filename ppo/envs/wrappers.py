"""Wrappers that the user puts around each copy of an environment: they become part of its specification.

Gymnasium makes every copy from the specification, in this process or in a worker. A vector environment that makes its copies
itself cannot take them.
"""

import copy
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator
from gymnasium.spaces import Space
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from ppo.envs.fits import is_number, misfit, short
from ppo.errors import UsageError, one_line
from ppo.machine.imports import import_name

Wrapper = tuple[str, dict[str, Any]]  # "package.module:Class", and its arguments
# Wrappers whose running statistics no checkpoint would hold, and the settings that save them with the policy.
STATISTICS = {NormalizeObservation: "--normalize-obs", NormalizeReward: "--scale-rewards"}


def with_wrappers(spec: EnvSpec, wrappers: Sequence[Wrapper], vectorization: str = "auto") -> EnvSpec:
    """Return a specification with wrappers around the environment, the first one innermost.

    Args:
        spec: of the environment; it stays as it is.
        wrappers: the classes, by name, and their arguments, in which a list becomes a tuple.
        vectorization: as in `make_envs`.

    Raises:
        UsageError: a class cannot be imported or is not a wrapper, or the vectorization cannot take wrappers.
    """
    if not wrappers:
        return spec
    if spec.entry_point is None:
        raise UsageError(
            f"wrap = {wrappers[0][0]!r} cannot be put around {spec.id}, a vector environment without single ones; leave out wrap"
        )
    if vectorization not in ("auto", "sync", "async"):
        raise UsageError(
            f"wrap = {wrappers[0][0]!r} does not go with vectorization = {vectorization!r}, whose environments cannot be wrapped "
            "one by one; use --vectorization sync or async"
        )
    wrapped = copy.copy(spec)
    wrapped.additional_wrappers = (*spec.additional_wrappers, *(_specification(*wrapper) for wrapper in wrappers))
    return wrapped


def _specification(name: str, kwargs: dict[str, Any]) -> WrapperSpec:
    """Return how Gymnasium names a wrapper, after a check of its class."""
    module = name.partition(":")[0]
    try:
        cls = import_name(name, "wrap")
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:  # Gymnasium imports some when they are named
        raise UsageError(f"wrap = {name!r} cannot be imported: {one_line(error)}") from error
    if not (isinstance(cls, type) and issubclass(cls, gymnasium.Wrapper)):
        raise UsageError(f"wrap = {name!r} is not a gymnasium.Wrapper; make it a subclass")
    if module not in sys.modules:
        raise UsageError(
            f"wrap = {name!r} is in the running script; move the class to a module of its own, because every process of an "
            "environment imports it"
        )
    for other in (setting for kind, setting in STATISTICS.items() if issubclass(cls, kind)):
        raise UsageError(f"wrap = {name!r} keeps statistics that no checkpoint holds; use {other}, which saves them")
    return WrapperSpec(cls.__name__, name, {key: _tuples(value) for key, value in kwargs.items()})


def _tuples(value: Any) -> Any:
    """Return a value of JSON or TOML with tuples instead of lists: shapes and sizes are tuples in Gymnasium."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def try_wrappers(spec: EnvSpec, number: int, kwargs: dict[str, Any]) -> None:
    """Put the wrappers around one environment, with a reset and a random step under each, so that an error names the wrapper.

    Args:
        spec: of the environment and its wrappers.
        number: how many of the last wrappers to try.
        kwargs: keyword arguments of the environment.

    Raises:
        UsageError: a wrapper refuses its arguments or its environment, or its reset or its step fails.
    """
    bare = copy.copy(spec)
    split = len(spec.additional_wrappers) - number
    bare.additional_wrappers = spec.additional_wrappers[:split]
    env = gymnasium.make(bare, **({"disable_env_checker": True} | kwargs))
    try:
        env.reset(seed=0)
        inner = env
        for wrapper in spec.additional_wrappers[split:]:
            env = _wrap(env, wrapper, inner)
    finally:
        env.close()


def _wrap(env: gymnasium.Env, wrapper: WrapperSpec, inner: gymnasium.Env) -> gymnasium.Env:
    """Return an environment in a wrapper that can reset and step it; `inner` is the environment without any."""
    arguments = f" with {wrapper.kwargs}" if wrapper.kwargs else ""
    make: Any = load_env_creator(wrapper.entry_point)
    name, doing = f"wrap = {wrapper.entry_point!r}{arguments}", "cannot be made"
    try:
        env = make(env=env, **(wrapper.kwargs or {}))
        doing = "cannot be reset"
        obs, _ = env.reset(seed=0)
    except Exception as error:
        raise UsageError(f"{name} {doing}: {one_line(error)}") from error
    for space in ("observation_space", "action_space"):
        if not isinstance(getattr(env, space), Space):
            raise UsageError(f"{name} has no {space}; set it to a gymnasium.spaces.Space")
    if problem := misfit(env.observation_space, obs):
        raise UsageError(f"{name} returns an observation that does not fit its space: {problem}")
    try:
        answer = _random_step(env)
    except Exception as error:
        if _is_own(inner):
            return env
        raise UsageError(f"{name} cannot be stepped: {one_line(error)}") from error
    if not (isinstance(answer, tuple) and len(answer) == 5):
        raise UsageError(f"{name} returns {short(answer)} from step(); return obs, reward, terminated, truncated, info")
    if problem := misfit(env.observation_space, answer[0]):
        raise UsageError(f"{name} returns an observation that does not fit its space: {problem}")
    if not is_number(answer[1]):
        raise UsageError(f"{name} returns reward = {short(answer[1])}; it must be one number")
    env.reset(seed=0)
    return env


def _random_step(env: gymnasium.Env) -> Any:
    env.action_space.seed(0)
    return env.step(env.action_space.sample())


def _is_own(inner: gymnasium.Env) -> bool:
    """Return whether an environment without wrappers fails too; its own error shows in training, with its traceback.

    It may also be no error: the action mask, which a random step does not read, can exclude the action.
    """
    try:
        inner.reset(seed=0)
        _random_step(inner)
    except Exception:
        return True
    return False
