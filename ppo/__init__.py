"""PPO and actor-critic training on any Gymnasium environment, in pure PyTorch.

The names that it offers are in `ppo.api`, which is imported when the first of them is used: worker processes never need torch, and
Ctrl-C must find its handler before torch is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppo.api import *  # noqa: F403

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Return a name of `ppo.api`, or a room that it imports."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    api = importlib.import_module("ppo.api")
    return globals()[name] if name in globals() else getattr(api, name)


def __dir__() -> list[str]:
    """Return the names of the package and of `ppo.api`."""
    return sorted({*globals(), *__getattr__("__all__")})
