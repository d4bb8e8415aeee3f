"""Worker processes of an AsyncVectorEnv: how to start them without the user's script and its interrupts."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def hide_main() -> Iterator[None]:
    """Start processes that do not import the user's script.

    A script without `if __name__ == "__main__"` would train again in each worker. Workers need nothing of it, since the
    environment's specification is pickled together with its code.
    """
    main = sys.modules["__main__"].__dict__
    attributes: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(attributes)


@contextlib.contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which reaches every process of the terminal, so that the trainer can finish."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
