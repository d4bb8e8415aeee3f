"""The lock of a run folder: one process writes to a run, and whoever comes second is told who holds it."""

import contextlib
import os
import socket
import sys
import time
import warnings
from pathlib import Path

from ppo.errors import UsageError
from ppo.run.files import cannot_write, check_plain, shown

NAME = ".lock"
ATTEMPTS = 3  # to take the lock


class RunLock:
    """Hold the operating system's lock on a run folder until `release` or the end of the process, however it ends.

    Args:
        run_dir: the run's folder.

    Raises:
        UsageError: another process or trainer holds the lock, or the folder cannot be written.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / NAME
        check_plain(self.path)
        try:
            while True:
                self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
                self._lock(run_dir)
                if self._is_current():
                    break
                os.close(self.file)  # whoever held it has removed the file
            os.ftruncate(self.file, 0)
            os.write(self.file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _lock(self, run_dir: Path) -> None:
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(BlockingIOError, PermissionError):
                return self._try(run_dir)
            time.sleep(0.05)  # somebody may only be looking: see `holder`
        try:
            self._try(run_dir)
        except (BlockingIOError, PermissionError):
            holder = os.read(self.file, 300).decode(errors="replace") or "another process"
            os.close(self.file)
            raise UsageError(
                f"{shown(run_dir)} is in use by {holder}; wait until that ends, or stop it, and try again"
            ) from None

    def _try(self, run_dir: Path) -> None:
        try:
            _lock_file(self.file)
        except (BlockingIOError, PermissionError):
            raise
        except OSError as error:  # some network file systems have no locks
            warnings.warn(
                f"{shown(run_dir)} cannot be locked ({error.strerror}); never train it twice at once", stacklevel=6
            )

    def _is_current(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.file), self.path.lstat())
        return False

    def release(self) -> None:
        """Let others write to the run."""
        with contextlib.suppress(OSError):  # Windows does not remove an open file, and the folder may be gone
            self.path.unlink()
        os.close(self.file)


def holder(run_dir: Path) -> str | None:
    """Return who holds the lock of a run folder, "" if nobody does, None if that cannot be told. Nothing is written.

    The trial takes the lock for an instant, which a process that wants it survives (`ATTEMPTS`).
    """
    try:
        file = os.open(run_dir / NAME, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return ""
    except OSError:
        return None
    try:
        _lock_file(file)
        return ""
    except (BlockingIOError, PermissionError):
        return os.read(file, 300).decode(errors="replace") or "another process"
    except OSError:  # some network file systems have no locks
        return None
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock_file(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # beyond the text, which others must be able to read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock_file(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
