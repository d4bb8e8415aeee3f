"""The process of one environment of an AsyncVectorEnv: it leaves signals to the trainer, and ends with it.

It starts in a fraction of a second because it imports nothing of this package but this file.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)
GRACE = 5.0  # seconds in which an environment may close itself after the trainer has died


@contextlib.contextmanager
def signal_mask(blocked: bool) -> Iterator[None]:
    """Block SIGINT and SIGTERM inside the block, or let them through; they wait and are not lost.

    A process that starts inside inherits the mask, so that it cannot be interrupted before it has its handlers.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK if blocked else signal.SIG_UNBLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(index: int, env_fn: Any, pipe: Any, *rest: Any) -> None:
    """Run Gymnasium's worker until the trainer closes the environment or dies."""
    from gymnasium.vector.async_vector_env import _async_worker

    for number in STOPS:  # not SIG_IGN, which processes of the environment would inherit
        signal.signal(number, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _async_worker(index, env_fn, _Pipe(pipe), *rest)  # type: ignore[arg-type]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        time.sleep(GRACE)
        os._exit(1)  # whatever the environment is doing


class _Pipe:
    """The worker's end of the pipe; the trainer's death is a request to close."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def recv(self) -> tuple[str, Any]:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return "close", None

    def send(self, answer: Any) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(answer)
