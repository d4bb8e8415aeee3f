"""The cache: one folder for downloads and compiled functions."""

import os
from pathlib import Path

from ppo.errors import UsageError


def cache_folder() -> Path:
    """Return the folder of downloads and compiled functions: PPO_CACHE if set, else ppo/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PPO_CACHE") or Path(base) / "ppo")


def cache_file(name: str) -> Path:
    """Return the path of a file in the cache, and make the folder.

    Raises:
        UsageError: the folder cannot be made or used.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).is_file()
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be used: {error.strerror}; set PPO_CACHE to another folder"
        ) from error
    return folder / name
