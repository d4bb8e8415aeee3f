"""Files that are written whole or not at all, and folders with a free name."""

import itertools
import os
from pathlib import Path

from ppo.errors import UsageError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, so that a reader, or a power cut, sees the whole old or the whole new file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}; make room or choose another place") from error


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder under `parent` with a name that is free: `name`, or `name__2`, `name__3` and so on.

    Raises:
        UsageError: the folder cannot be made.
    """
    for attempt in itertools.count(1):
        folder = parent / (name if attempt == 1 else f"{name}__{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not parent.is_dir():
                raise UsageError(f"{parent} is not a folder; choose another --runs-dir") from None
        except OSError as error:
            raise UsageError(f"cannot make {folder}: {error.strerror}; choose another --runs-dir") from error
    raise AssertionError("unreachable")
