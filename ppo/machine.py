"""The machine: what it has for us."""

import os
import shutil


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiler() -> str | None:
    """Return the path of the C++ compiler, None without one."""
    return shutil.which(os.environ.get("CXX", "g++"))
