"""Files that are written whole or not at all and never through a link, and folders with a free name."""

import contextlib
import errno
import itertools
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, TextIO

from ppo.errors import UsageError

TEMPORARY = re.compile(r"\..+\.\d+")  # .NAME.PID, as `write_atomically` names it


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, so that a reader, or a power cut, sees the whole old or the whole new file.

    Raises:
        UsageError: the folder cannot be written or the disk is full; a file already at `path` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)  # a link, or left by a killed process that had the same id
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # a read-only disk refuses this too
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def cannot_write(path: Path, error: OSError) -> UsageError:
    """Return the sentence for a file or folder that cannot be written."""
    remedy = (
        "make room or choose another place" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another place"
    )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "raise the limit of open files (ulimit -n)"
    return UsageError(f"cannot write {shown(path)}: {error.strerror}; {remedy}")


def open_to_append(path: Path) -> TextIO:
    """Open a text file to append to it; a link in its place is an OSError."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    return open(path, "a", newline="", encoding="utf-8", opener=opener)


def check_plain(path: Path, folder: bool = False) -> None:
    """Check that there is a file (or a folder), or nothing, at a path in a run folder.

    Raises:
        UsageError: there is a link, which another person may have pointed anywhere, or something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(path, error) from error
    noun = "folder" if folder else "file"
    if stat.S_ISLNK(mode):
        raise UsageError(
            f"{shown(path)} is a link, and ppo never writes through a link in a run folder; put the {noun} there"
        )
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        raise UsageError(f"{shown(path)} is not a {noun}; move it away")


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files of `write_atomically` that a killed process left in a folder."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name) and not path.is_dir():
                path.unlink()


def shown(path: Path) -> Path:
    """Return a path as a person reads it: relative if it is inside the current folder."""
    with contextlib.suppress(ValueError, OSError):
        return path.relative_to(Path.cwd())
    return path


def write_settings(run_dir: Path, settings: dict[str, Any]) -> None:
    """Write a run's settings, JSON values by name, to its config.json."""
    write_atomically(run_dir / "config.json", json.dumps(settings, indent=2).encode())


def new_folder(parent: Path, name: str, settings: dict[str, Any]) -> Path:
    """Make a run folder under `parent` with a name that is free: `name`, or `name__2`, `name__3` and so on.

    Args:
        parent: the folder that holds the run folders.
        name: of the new one.
        settings: for its config.json.

    Raises:
        UsageError: the folder cannot be made, or its name is not UTF-8.
    """
    check_name(parent)
    for attempt in itertools.count(1):
        folder = parent / (name if attempt == 1 else f"{name}__{attempt}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if not parent.is_dir():
                raise UsageError(f"{parent} is not a folder; choose another --runs-dir") from None
        except OSError as error:
            raise UsageError(f"cannot make {folder}: {error.strerror}; choose another --runs-dir") from error
    write_settings(folder, settings)
    return folder


def check_name(path: Path) -> None:
    """Check that TensorBoard and safetensors, which want UTF-8, can open a path.

    Raises:
        UsageError: they cannot.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{path} is not UTF-8; rename the folder or choose another one") from None
