"""N copies of an environment, each in its own process: Gymnasium's AsyncVectorEnv, and what happens when one ends."""

import atexit
import contextlib
import errno
import functools
import multiprocessing.connection
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from typing import Any

import cloudpickle
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState

from ppo.envs import copies, fits
from ppo.errors import UsageError
from ppo.machine.worker import signal_mask, work

CLOSING, CLOSING_IN_A_STEP = 10.0, 1.0  # seconds in which the environments may close themselves
_open: "weakref.WeakSet[Workers]" = weakref.WeakSet()


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
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block: a process that is half started would print a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    numbers: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: numbers.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if numbers:
            signal.raise_signal(signal.SIGINT)


def _explained(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that names the environment whose process has ended, if that is why it fails."""

    @functools.wraps(method)
    def explained(self: "Workers", *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (EOFError, OSError) as error:
            reason = self.ended()
            if reason is None:
                raise
            raise UsageError(reason) from error

    return explained


class Workers(AsyncVectorEnv):
    """AsyncVectorEnv whose processes leave Ctrl-C and SIGTERM to the trainer, and are named when they end.

    Args:
        env_id: names the environment in errors.
        makers: functions that make the copies.
        first: number of the first copy, for messages.

    Raises:
        UsageError: the processes cannot be started, or one of them ends.
    """

    def __init__(self, env_id: str, makers: list[Callable[[], copies.Copy]], first: int = 0) -> None:
        self.env_id, self.first = env_id, first
        for module in (copies, fits):  # by reference, each worker would import torch with them: 3 s
            cloudpickle.register_pickle_by_value(module)
        self.parent_pipes, self.processes, self._state = [], [], AsyncState.DEFAULT
        _open.add(self)
        # Forked workers inherit locked threads and hang (pytorch/pytorch#17199).
        options: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "context": "spawn", "worker": work}
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # its start would lift the mask
        self.start = contextlib.ExitStack()
        try:
            with hide_main(), self.start:
                self.start.enter_context(_interrupts_wait())
                self.start.enter_context(signal_mask(blocked=True))
                super().__init__(makers, **options)
        except BaseException as error:
            self.close(terminate=True)
            limits = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
            if isinstance(error, OSError) and error.errno in limits:
                raise UsageError(
                    f"{len(makers)} processes for environments cannot be started: {error.strerror}; use fewer --num-envs, "
                    "--vectorization sync, or raise the limits (ulimit -n, ulimit -u)"
                ) from error
            raise

    def _check_spaces(self) -> None:
        self.start.close()  # all processes have started
        _explained(AsyncVectorEnv._check_spaces)(self)

    reset = _explained(AsyncVectorEnv.reset)
    step = _explained(AsyncVectorEnv.step)
    call = _explained(AsyncVectorEnv.call)
    set_attr = _explained(AsyncVectorEnv.set_attr)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise a worker's own error, with its notes and the worker's traceback."""
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

    def ended(self) -> str | None:
        """Return a sentence about a process that has ended though nobody closed it; None if there is none."""
        running = {p.sentinel: n for n, p in enumerate(self.processes) if self.parent_pipes[n] is not None}
        ended = multiprocessing.connection.wait(list(running), timeout=1.0)
        if not ended:
            return None
        index = min(running[sentinel] for sentinel in ended)  # type: ignore[index]
        self.processes[index].join()
        code = self.processes[index].exitcode or 0
        if code < 0:
            fate = f"was killed by {signal.Signals(-code).name}; is there enough memory? if not, use fewer --num-envs"
        elif code:
            fate = f"exited with code {code}; its error is above"
        else:
            fate = "exited; its code must not call sys.exit but raise an exception or end the episode"
        return f"the process of environment {self.first + index} of {self.env_id} {fate}"

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Let the environments close themselves, and end the processes that do not do it in time.

        Args:
            timeout: in seconds; None: 10, or 1 if a step was interrupted.
            terminate: do not wait.
        """
        patience = CLOSING if self._state == AsyncState.DEFAULT else CLOSING_IN_A_STEP
        deadline = time.monotonic() + (0.0 if terminate else patience if timeout is None else timeout)
        for pipe in self.parent_pipes:
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(OSError):
                    pipe.send(("close", None))
                pipe.close()
        for process in self.processes:
            if process.pid is not None:
                process.join(max(0.0, deadline - time.monotonic()))
                process.kill()
                process.join()


@atexit.register
def _close_all() -> None:
    """End the processes of environments that nobody closed; `multiprocessing` would wait for them for ever."""
    for envs in list(_open):
        if not envs.closed:
            envs.close(terminate=True)
