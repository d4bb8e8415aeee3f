"""Copies of an environment in worker processes: how these start, and how their errors arrive here."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cloudpickle
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from ppo.envs import copies, fits


class AsyncCopies(AsyncVectorEnv):
    """An AsyncVectorEnv that raises a worker's own error, with its notes and the worker's traceback.

    Args:
        makers: functions that make the copies.
    """

    def __init__(self, makers: list[Callable[[], copies.Copy]]) -> None:
        for module in (copies, fits):  # by reference, each worker would import torch with them: 3 s
            cloudpickle.register_pickle_by_value(module)
        with ignore_interrupts(), hide_main():  # forked workers inherit locked threads and hang (pytorch/pytorch#17199)
            super().__init__(makers, context="spawn", autoreset_mode=AutoresetMode.SAME_STEP)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        failures = [self.error_queue.get() for success in successes if not success]
        if not failures:
            return
        for index, *_ in failures:
            self.parent_pipes[index].close()
            self.parent_pipes[index] = None  # type: ignore[call-overload]
        self._state = type(self._state).DEFAULT
        _, _, error, trace = min(failures, key=lambda failure: failure[0])
        error.add_note(f"in the worker process:\n{trace}")
        raise error


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
