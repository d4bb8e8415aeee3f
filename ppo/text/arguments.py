"""Arguments of a text environment: those that its function does not take, or not of this type, are refused by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ppo.errors import UsageError

# What an argument annotated with a type must be, and its name in an error.
KINDS: dict[Any, tuple[type, str]] = {
    int: (Integral, "a whole number"), float: (Real, "a number"), bool: (bool, "true or false"), str: (str, 'a text, as in "5"'),
    NoneType: (NoneType, "nothing"),
}  # fmt: skip


def check_arguments(env_id: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Check that a function takes these keyword arguments, an environment's.

    Raises:
        UsageError: names the first one that it does not know, or that is missing.
    """
    parameters = inspect.signature(function).parameters
    named = {name: p for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    unknown = [name for name in arguments if name not in named]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        rule = f"it knows {', '.join(named)}" if named else "it takes no arguments"
        raise UsageError(f"{env_id} does not know the argument {unknown[0]!r}; {rule}")
    hints = _hints(function)
    for name, value in arguments.items():
        hint = hints.get(name)
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if set(kinds) <= KINDS.keys() and not any(_is(value, kind) for kind in kinds):
            raise UsageError(f"{env_id}: {name} = {value!r:.60} is not {KINDS[kinds[0]][1]}")
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise UsageError(f"{env_id} needs the argument {missing[0]!r}; give it with --env-kwargs {missing[0]} …")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's arguments; none if they cannot be read, or a class has no constructor of its own."""
    whole = function.func if isinstance(function, partial) else function
    try:
        return get_type_hints(vars(whole)["__init__"] if isinstance(whole, type) else whole)
    except (KeyError, NameError, TypeError):
        return {}


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, bool) == (kind is bool) and isinstance(value, KINDS[kind][0])
