"""The user's key: 32 random bytes that sign what this user writes, so that it is known when it is read again."""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ppo.machine.cache import cache_folder

SIZE = 32  # bytes


def sign(text: str) -> str:
    """Return the signature (HMAC-SHA-256) of a text by the user's key; empty if the key cannot be kept."""
    key = _read(_path()) or _create(_path())
    return _signature(key, text) if key else ""


def is_signed(text: str, signature: str) -> bool:
    """Return whether a signature is the one that this user's key gives a text."""
    key = _read(_path())
    return key is not None and hmac.compare_digest(_signature(key, text).encode(), signature.encode(errors="replace"))


def _signature(key: bytes, text: str) -> str:
    return hmac.new(key, b"ppo checkpoint\n" + text.encode(), hashlib.sha256).hexdigest()


def _path() -> Path:
    return cache_folder() / "key"


def _read(path: Path) -> bytes | None:
    """Return the key; None if there is none, or if another user may know it."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(file)
            own = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)
            key = os.read(file, SIZE + 1)
            return key if own and len(key) == SIZE else None
        finally:
            os.close(file)
    return None


def _create(path: Path) -> bytes | None:
    """Make a key, unless another process is faster, and return it; None if the folder cannot be written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            os.write(file, secrets.token_bytes(SIZE))
        finally:
            os.close(file)
        try:
            os.link(temporary, path)  # unlike a renaming, it replaces nothing
        finally:
            temporary.unlink()
    return _read(path)
