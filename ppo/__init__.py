"""PPO and actor-critic training on any Gymnasium environment, in pure PyTorch."""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppo.api import *  # noqa: F403

__version__ = "0.1.0"


class _Package(ModuleType):
    """Import `ppo.api` when a name is first used: worker processes never need it, and Ctrl-C must find a handler first."""

    def __getattr__(self, name: str) -> Any:
        if name != "__all__" and name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        api = importlib.import_module("ppo.api")
        return self.__dict__[name] if name in self.__dict__ else getattr(api, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "evaluate":  # the submodule must not hide the function of its name
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__getattr__("__all__")})


sys.modules[__name__].__class__ = _Package
