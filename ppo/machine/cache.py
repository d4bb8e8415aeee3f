"""The cache: one folder for downloads and compiled functions."""

import contextlib
import os
import sys
from collections.abc import Iterator
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


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time make the file at `path`; others wait here, and then find it.

    The operating system holds the lock, so it ends with the process. Where there is none, all processes go on.
    """
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            import fcntl

            with contextlib.suppress(OSError):  # a file system without locks, or a folder that cannot be written
                path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
                stack.callback(os.close, file)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
