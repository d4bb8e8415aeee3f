"""The user's own code, by name: "package.module:Name" becomes the object it names."""

import importlib
from types import ModuleType
from typing import Any

from ppo.errors import UsageError


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
    """Return a module of the user's; an error inside it keeps its traceback.

    Raises:
        UsageError: the name is relative, or there is no such module; the sentence begins with `source`.
    """
    if module.startswith("."):
        raise UsageError(f"{source} is relative; give the module's full name")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # a module that the user's own imports
        raise UsageError(f"{source}: there is no module {error.name}; is it on PYTHONPATH?") from error
