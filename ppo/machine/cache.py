"""The cache: one folder for what was fetched and what was compiled."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of what was fetched and compiled: PPO_CACHE, or ppo/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PPO_CACHE") or Path(base) / "ppo")
