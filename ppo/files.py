"""Files that are written whole or not at all."""

import os
from pathlib import Path

from ppo.errors import UsageError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, so that a reader or a power cut sees the old or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}; make room or choose another --runs-dir") from error
