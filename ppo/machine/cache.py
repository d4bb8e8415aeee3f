"""The cache: one folder for downloads and compiled functions."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of downloads and compiled functions: PPO_CACHE if set, else ppo/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PPO_CACHE") or Path(base) / "ppo")
