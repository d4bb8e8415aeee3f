"""The user's own code, by name: "package.module:Name" becomes the object it names.

A name in a file of another person is not the user's: `only_trusted` marks where a file is read, and inside it only this
package is imported.
"""

import contextlib
import difflib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ppo.errors import UsageError, one_line


class _Foreign(NamedTuple):
    """A run that this user has not made, and the modules that the user has named nevertheless."""

    run: str
    modules: frozenset[str]


_trust: ContextVar[bool] = ContextVar("trust", default=False)
_foreign: ContextVar[_Foreign | None] = ContextVar("foreign", default=None)


@contextlib.contextmanager
def trusting(everything: bool = True) -> Iterator[None]:
    """Import inside the block whatever a run names, if `everything`; else change nothing."""
    token = _trust.set(_trust.get() or everything)
    try:
        yield
    finally:
        _trust.reset(token)


@contextlib.contextmanager
def only_trusted(run: object, signed: bool, own: Iterable[object] = ()) -> Iterator[None]:
    """Import inside the block only modules of this package, or those that the user has named.

    Args:
        run: that names what is imported, for the error.
        signed: the user has made the run: every module that it names is the user's.
        own: names of the form "package.module:Name" that the user has given besides, also as values of a dict; other values
            are ignored.
    """
    values = [part for value in own for part in (value.values() if isinstance(value, dict) else [value])]
    modules = frozenset(name.rpartition(":")[0] for name in values if isinstance(name, str))
    token = _foreign.set(None if signed else _Foreign(str(run), modules))
    try:
        yield
    finally:
        _foreign.reset(token)


def check_trusted(module: str, source: str) -> None:
    """Check that a module may be imported here.

    Args:
        module: its full name.
        source: where it is named, for the error.

    Raises:
        UsageError: a run that another person has made names it, and the user has not said that they trust it.
    """
    foreign = _foreign.get()
    if foreign is None or _trust.get() or module.partition(".")[0] == "ppo" or module in foreign.modules:
        return
    raise UsageError(
        f"{source}: the run {foreign.run}, which this user has not made, needs the module {module}, and to import it is "
        "to run its code; add --trust (trust=True from Python) if you trust the run's author",
        page="security#what-you-can-open-without-trust",
    )


def is_installed(module: str) -> bool:
    """Return whether a package is installed; this does not import it. A file of its name in the current folder is not it."""
    package, elsewhere = module.partition(".")[0], [p for p in sys.path if p not in ("", ".", os.getcwd())]
    finders = [(f, elsewhere if f is importlib.machinery.PathFinder else None) for f in sys.meta_path]
    return any(finder.find_spec(package, places) is not None for finder, places in finders) or package == "ppo"


def import_name(name: str, setting: str) -> Any:
    """Return the object that `name`, "package.module:Name", names.

    Args:
        name: as the user gave it.
        setting: where the user gave it, for the error's sentence.

    Raises:
        UsageError: the name has another form, there is no such module or object, or see `check_trusted`.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"{setting} = {name!r} must have the form package.module:Name")
    imported = import_user_module(module, f"{setting} = {name!r}")
    try:
        return getattr(imported, attribute)
    except AttributeError as error:
        near = difflib.get_close_matches(attribute, vars(imported), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{setting} = {name!r}: module {module} has no {attribute}{hint}") from error


def _running_script(module: str) -> ModuleType | None:
    """Return `__main__` if it was run from this module's file: an import would define and register everything twice."""
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), None if module in sys.modules else importlib.util.find_spec(module)
    same = (
        file is not None
        and spec is not None
        and spec.origin is not None
        and Path(spec.origin) == Path(os.path.abspath(file))
    )
    return main if same else None


def import_user_module(module: str, source: str) -> ModuleType:
    """Return a module of the user's; an error inside it keeps its traceback, except that of a missing import.

    Raises:
        UsageError: the name is relative, there is no such module, it imports what is missing, or see `check_trusted`; the
            sentence begins with `source`.
    """
    if module.startswith("."):
        raise UsageError(f"{source} is relative; give the module's full name")
    check_trusted(module, source)
    try:
        return _running_script(module) or importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(f"{source}: there is no module {error.name}; is it on PYTHONPATH?") from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}"
        raise UsageError(f"{source}: the import of {module} fails in {where}: {one_line(error)}") from error
