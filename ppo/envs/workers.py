"""Worker processes of an asynchronous VectorEnv: what they must not inherit from the trainer's process."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def hidden_main() -> Iterator[None]:
    # A worker would import the user's script, and train again where nothing in it says `if __name__ == "__main__"`. What
    # it needs of the script is in the environment's specification, which is pickled with its code.
    main = sys.modules["__main__"].__dict__
    kept: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)


@contextlib.contextmanager
def ignored_interrupts() -> Iterator[None]:
    # Ctrl-C reaches every process of the terminal; workers inherit that they ignore it, so that the trainer can finish.
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
