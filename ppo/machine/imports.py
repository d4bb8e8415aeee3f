"""The user's own code, by name: "package.module:Name" becomes the object it names."""

import importlib
import traceback
from types import ModuleType
from typing import Any

from ppo.errors import UsageError, one_line


def import_name(name: str, setting: str) -> Any:
    """Return the object that `name`, "package.module:Name", names.

    Args:
        name: as the user gave it.
        setting: where the user gave it, for the error's sentence.

    Raises:
        UsageError: the name has another form, or there is no such module or object.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"{setting} = {name!r} must have the form package.module:Name")
    imported = import_user_module(module, f"{setting} = {name!r}")
    try:
        return getattr(imported, attribute)
    except AttributeError as error:
        raise UsageError(f"{setting} = {name!r}: module {module} has no {attribute}") from error


def import_user_module(module: str, source: str) -> ModuleType:
    """Return a module of the user's; an error inside it keeps its traceback, except that of a missing import.

    Raises:
        UsageError: the name is relative, there is no such module, or it imports what is missing; the sentence begins with
            `source`.
    """
    if module.startswith("."):
        raise UsageError(f"{source} is relative; give the module's full name")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(f"{source}: there is no module {error.name}; is it on PYTHONPATH?") from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}"
        raise UsageError(f"{source}: the import of {module} fails in {where}: {one_line(error)}") from error
