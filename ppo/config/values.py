"""Settings from outside: a TOML file or JSON values become a dataclass's own types, or one sentence says why not."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Literal

from ppo.errors import UsageError


def read_toml(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file.

    Raises:
        UsageError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read settings from {path}: {error}") from error


def convert(settings: dict[str, Any], example: Any, auto: dict[str, Any], source: str) -> dict[str, Any]:
    """Return JSON or TOML values as a dataclass holds them.

    Args:
        settings: values by name.
        example: an instance of the dataclass, whose values show the types.
        auto: those that are a number like the one given here, or "auto".
        source: where the values stood.

    Raises:
        UsageError: an unknown key, or a value of another type.
    """
    known = {f.name: f for f in dataclasses.fields(example)}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise UsageError(f"unknown key {', '.join(unknown)} in {source}; the keys are the flags of `ppo train`")
    values = {}
    for name, value in settings.items():
        like = getattr(example, name)
        if name in auto:
            like = "" if value == "auto" else auto[name]
        values[name] = _convert(name, value, like, source)
        allowed = getattr(known[name].type, "__args__", ())
        if getattr(known[name].type, "__origin__", None) is Literal and value not in allowed:
            raise UsageError(f"{name} = {value!r} in {source} is not one of {', '.join(allowed)}")
    return values


def _convert(name: str, value: Any, example: Any, source: str) -> Any:
    if isinstance(example, Path) and isinstance(value, str):
        return Path(value)
    if isinstance(example, tuple) and isinstance(value, list) and all(type(v) is int for v in value):
        return tuple(value)
    if isinstance(example, float) and type(value) is int:
        return float(value)
    if type(value) is not type(example):
        kinds = {Path: "text", tuple: "a list of whole numbers", dict: "a table", str: "text", bool: "true or false"}
        kind = next((text for kind, text in kinds.items() if isinstance(example, kind)), "a number")
        raise UsageError(f"{name} = {value!r} in {source} is not {'a whole number' if type(example) is int else kind}")
    return value
