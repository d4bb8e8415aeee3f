"""Words of a command line become values, and values words: numbers, and the arguments of an environment."""

import contextlib
import json
import shlex
import tomllib
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from tyro.conf import UseAppendAction, arg
from tyro.constructors import PrimitiveConstructorSpec

from ppo.errors import UsageError

SWITCHES = ("yes", "no", "on", "off", "true", "false")  # in other letters: as a text, each would be true
PYTHON = {"True": True, "False": False, "None": None}  # as people also write true, false and null


def read_pairs(words: list[str]) -> dict[str, Any]:
    """Return the arguments that words of a command line name, each as KEY VALUE or as KEY=VALUE; see `read_value`.

    Raises:
        ValueError: a name or a value is missing, or a value cannot be read.
    """
    pairs, rest = dict[str, Any](), iter(words)
    for word in rest:
        key, equals, text = word.partition("=")
        if not key.isidentifier():
            raise ValueError(f"{word[:40]!r} is not the name of an argument; write KEY VALUE or KEY=VALUE")
        value = text if equals else next(rest, None)
        if value is None or key in pairs:
            raise ValueError(f"{key} has {'two values' if key in pairs else 'no value'}; write KEY VALUE or KEY=VALUE")
        pairs[key] = read_value(value)
    return pairs


def override(arguments: dict[str, Any], *several: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with several changes, one after another, of which the value None removes an argument (RFC 7396)."""
    for changes in several:
        arguments = {k: value for k, value in (arguments | changes).items() if k not in changes or value is not None}
    return arguments


def write_pairs(pairs: dict[str, Any]) -> list[str]:
    """Return words that `read_pairs` reads as these arguments."""
    return [f"{key}={_write(value)}" for key, value in pairs.items()]


def environment_words(settings: Any, env_kwargs: dict[str, Any]) -> list[str]:
    """Return the environment of settings, with these arguments and all that changes its spaces, as words of a command line."""
    words = [settings.env_id, *(["--env-kwargs", *write_pairs(env_kwargs)] if env_kwargs else [])]
    for wrapper in settings.wrap:
        words += ["--wrap", *_split(wrapper)]
    for name in ("max_episode_steps", "resize", "critic_key"):
        value, default = getattr(settings, name), getattr(type(settings), name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value != default else []
    return words


def read_wrappers(wrap: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the class and the arguments of each wrapper, from words as a shell splits them: "module:Class stack_size 4".

    Raises:
        UsageError: the first word is not a class, a quote is open, or the others are not arguments; see `read_pairs`.
    """
    wrappers = []
    for text in wrap:
        try:
            name, *words = _split(text) or [""]
            if not all(name.partition(":")):
                raise ValueError("it must begin with package.module:Class")
            wrappers.append((name, read_pairs(words)))
        except ValueError as error:
            raise UsageError(f"wrap = {text!r}: {error}") from None
    return wrappers


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # of two kinds: an open quote, and a backslash at the end
        raise ValueError("a quotation mark is open, or a backslash ends it; close it or leave it out") from None


def _join_wrapper(words: list[str]) -> str:
    """Return the words of one --wrap as one text."""
    try:
        ((name, arguments),) = read_wrappers([shlex.join(words)])
    except UsageError as error:
        raise ValueError(str(error).partition(": ")[2]) from error
    return shlex.join([name, *write_pairs(arguments)])


def _write(value: Any) -> str:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            if read_value(value) == value:
                return value
    return json.dumps(value)


def read_value(word: str) -> Any:
    """Return the value that JSON or TOML reads in a word (a number, true, null, "text", a list, a table), else the text.

    Raises:
        ValueError: the word is a number only in another notation, as 007; yes, no, on or off; or a list, a table or a quoted
            text that is broken.
    """
    if word in PYTHON:
        return PYTHON[word]
    readers: tuple[Callable[[str], Any], ...] = (json.loads, _read_toml_value)
    for read in readers:
        try:
            value = read(word)
            json.dumps(value, allow_nan=False)  # JSON has no dates and no infinity
            return value
        except RecursionError:
            raise ValueError(f"{word[:20]} … is nested too deeply") from None
        except (ValueError, TypeError):
            continue
    if word.lower() in SWITCHES:
        text = shlex.quote(json.dumps(word))
        raise ValueError(f"{word} is not a value that JSON or TOML reads; write true or false, or for a text {text}")
    if word[:1] in ("[", "{", '"', "'") or _is_number(word):
        text = shlex.quote(json.dumps(word))
        raise ValueError(f"{word[:40]} is not a value that JSON or TOML reads; for a text write {text[:40]}")
    return word


def _read_toml_value(word: str) -> Any:
    table = tomllib.loads(f"a = {{a = {word}}}")
    if list(table) != ["a"] or list(table["a"]) != ["a"]:
        raise ValueError
    return table["a"]["a"]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_whole(word: str) -> int:
    """Return the whole number that a word holds; 1e6 and 1_000_000 are whole numbers too.

    Raises:
        ValueError: it holds none.
    """
    with contextlib.suppress(ValueError):
        return int(word)
    if not _is_number(word) or not float(word).is_integer():
        raise ValueError(f"{word!r} is {_no('a whole number', word)}")
    return int(float(word))


def read_number(word: str) -> float:
    """Return the number that a word holds.

    Raises:
        ValueError: it holds none.
    """
    if not _is_number(word):
        raise ValueError(f"{word!r} is {_no('a number', word)}")
    return float(word)


def _no(kind: str, word: str) -> str:
    return f"a schedule, but this setting must be {kind} throughout a run" if "->" in word else f"not {kind}"


def default_hint(default: Any) -> str:
    """Return how --help shows a default that may be empty; tyro quotes text."""
    words = " ".join(map(str, default)) if isinstance(default, tuple) else default
    empty = words in ("", "''", {})
    return f"(default: {'none' if empty else words})"


EnvKwargs = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*", metavar="KEY VALUE ...", instance_from_str=read_pairs, str_from_instance=write_pairs,
        is_instance=lambda value: isinstance(value, dict),
    ),
    arg(help_behavior_hint=default_hint),
]  # fmt: skip
Wrap = Annotated[
    str,
    PrimitiveConstructorSpec(
        nargs="*", metavar="CLASS NAME VALUE ...", instance_from_str=_join_wrapper, str_from_instance=shlex.split,
        is_instance=lambda value: isinstance(value, str),
    ),
]  # fmt: skip
Wraps = Annotated[UseAppendAction[tuple[Wrap, ...]], arg(help_behavior_hint=default_hint)]
Name = Annotated[str, arg(help_behavior_hint=default_hint)]  # may be empty
