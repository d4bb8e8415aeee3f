"""PPO and actor-critic training on any Gymnasium environment, in pure PyTorch.

The names that it offers are in `ppo.api`, which is imported when the first of them is used: worker processes never need torch, and
Ctrl-C must find its handler before torch is imported.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppo.api import *  # noqa: F403

__version__ = "0.2.0"

# Torch's threads spin while they wait for each other, 300,000 times by the default of libgomp. Where other jobs share the cores, a
# thread thus spins for one that cannot run. With fewer turns two threads were 2 to 3 times as fast next to two other jobs (MinAtar and
# MiniGrid, two cores), and on an idle machine about 3 % slower (MiniGrid, medians of four). libgomp reads this when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name: str) -> Any:
    """Return a name of `ppo.api`, or a room that it imports."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    api = importlib.import_module("ppo.api")
    return globals()[name] if name in globals() else getattr(api, name)


def __dir__() -> list[str]:
    """Return the names of the package and of `ppo.api`."""
    return sorted({*globals(), *__getattr__("__all__")})
