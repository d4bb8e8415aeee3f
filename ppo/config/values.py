"""Settings from outside: a TOML file or JSON values become a dataclass's own types, or one sentence says why not."""

import contextlib
import copy
import dataclasses
import difflib
import json
import tomllib
import typing
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ppo.config.schedule import Adaptive, Schedule, read_schedule
from ppo.errors import UsageError

WORDS = {
    int: "a whole number",
    float: "a number",
    Schedule: "a schedule",
    bool: "true or false",
    str: "text",
    Path: "text",
    dict: "a table of JSON values",
}


def read_toml(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file.

    Raises:
        UsageError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # without a byte order mark
    except OSError as error:
        raise UsageError(f"cannot read settings from {path}: {error.strerror}") from error
    except RecursionError as error:
        raise UsageError(f"cannot read settings from {path}: its values are nested too deeply") from error
    except ValueError as error:  # not UTF-8, not TOML, or a number of thousands of digits
        raise UsageError(f"cannot read settings from {path}: {error}") from error


def convert(settings: dict[str, Any], cls: type, source: str) -> dict[str, Any]:
    """Return JSON or TOML values with the types of a dataclass's fields.

    Args:
        settings: values by name.
        cls: the dataclass, whose annotations are the types.
        source: where the values were read, for the error.

    Raises:
        UsageError: an unknown key, or a value of another type.
    """
    types = typing.get_type_hints(cls)
    unknown = sorted(set(settings) - set(types))
    if unknown:
        near = difflib.get_close_matches(unknown[0].replace("-", "_"), types, 1)
        hint = f"did you mean {near[0]}?" if near else "the keys are the flags of `ppo train`, with underscores"
        raise UsageError(f"unknown key {', '.join(unknown)} in {source}; {hint}")
    values, adaptive = {}, {f.name: f.metadata.get("adaptive") for f in dataclasses.fields(cls)}
    for name, value in settings.items():
        try:
            values[name] = _convert(value, types[name], adaptive[name])
        except TypeError:
            raise UsageError(
                f"{name} = {value!r} in {source} is not {_describe(types[name])}{_remedy(value, types[name])}"
            ) from None
        except ValueError as error:
            raise UsageError(f"{name} = {value!r} in {source}: {error}") from None
    return values


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of settings as JSON values: paths and schedules as texts, tuples as lists."""
    values = copy.deepcopy(settings)
    texts = {name: str(value) for name, value in values.items() if isinstance(value, Path | Schedule)}
    return values | texts | {name: list(value) for name, value in values.items() if isinstance(value, tuple)}


def _convert(value: Any, kind: Any, adaptive: Adaptive | None = None) -> Any:
    """Return a value as the type `kind`; raise TypeError if it has another type, ValueError for the text of no schedule."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for part in args:
            with contextlib.suppress(TypeError):
                return _convert(value, part, adaptive)
    elif origin is Literal:
        if value in args:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_convert(item, args[0]) for item in value)
    elif origin is dict:
        if isinstance(value, dict):
            json.dumps(value)  # raises TypeError for a date, which config.json cannot hold
            return value
    elif kind is Path:
        if isinstance(value, str | Path):
            return Path(value)
    elif kind is Schedule and isinstance(value, str):
        return read_schedule(value, adaptive)
    elif kind is float and type(value) is int and abs(value) < 10**300:
        return float(value)
    elif kind is int and type(value) is float and value.is_integer():  # TOML's 1e6
        return int(value)
    elif type(value) is kind:
        return value
    raise TypeError


def _remedy(value: Any, kind: Any) -> str:
    """Return what to do about a schedule for a setting that takes none, or how to write a lone text as a list; "" for others."""
    if isinstance(value, str) and "->" in value:
        return "; this setting cannot change during a run"
    lone = (
        isinstance(value, str) and get_origin(kind) is tuple and get_args(kind)[:1] and _takes_text(get_args(kind)[0])
    )
    return f"; write [{json.dumps(value, ensure_ascii=False)}]" if lone else ""


def _takes_text(kind: Any) -> bool:
    try:
        return isinstance(_convert("", kind), str)
    except TypeError:
        return False


def _describe(kind: Any) -> str:
    """Return a type in words."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_describe, args))
    if origin is Literal:
        return f"one of {', '.join(args)}" if len(args) > 1 else f'"{args[0]}"'
    if origin is tuple:
        return f"a list of {_describe(args[0]).removeprefix('a ')}s"
    return WORDS[origin or kind]
