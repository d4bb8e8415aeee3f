"""The process: its seeds, device, precision, threads, processor cores, C++ compiler, and the signals that end it."""

import contextlib
import os
import random
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from ppo.errors import UsageError
from ppo.machine import agent
from ppo.machine.distributed import launched, local_rank, rank

# Rows of a minibatch times parameters, per thread. Two threads were 1.5 times as fast as one from 5 million on, for two
# layers of 64 to 512 and for convolutions, and no faster at 1.5 million.
WORK_PER_THREAD = 2_500_000
Value = TypeVar("Value")


@dataclass(frozen=True)
class Choice(Generic[Value]):
    """A resolved setting and the reason for its value, in a few words."""

    value: Value
    reason: str


def seed_everything(seed: int, key: tuple[int, ...] = ()) -> int:
    """Seed torch, NumPy and Python from a seed and a key, and return the seed for the environments, below 2³¹.

    The empty key seeds the initial weights; (0, iteration) seeds what follows a checkpoint. Torch, from which come the noise of the
    actions and the minibatches, is alike on all ranks.
    """
    words = np.random.SeedSequence(seed, spawn_key=key).generate_state(4)
    own = np.random.SeedSequence(seed, spawn_key=(rank(), *key[1:])).generate_state(4) if key else words
    torch.manual_seed(int(words[0]))
    torch.backends.cudnn.deterministic = True  # its fastest convolutions sum in an order that changes
    np.random.seed(int(own[1]))  # not used in this package, but perhaps by an environment
    random.seed(int(own[2]))
    return int(words[3]) >> 1  # an environment may keep its seed in 32 bits with a sign


def resolve_device(device: str, network: nn.Module) -> Choice[torch.device]:
    """Return the device for "auto", "cpu" or "cuda"; auto takes cuda for convolutions.

    Raises:
        UsageError: cuda is requested but absent.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("device = 'cuda' needs a CUDA device, but torch finds none; use --device cpu")
    if device != "auto":
        return Choice(_cuda_device() if device == "cuda" else torch.device(device), "requested")
    if not available:
        return Choice(torch.device("cpu"), "torch finds no CUDA device")
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return Choice(_cuda_device(), "the policy has convolutions")
    return Choice(torch.device("cpu"), "without convolutions, GPU transfers cost more than they save")


def _cuda_device() -> torch.device:
    """Return the CUDA device of this rank; the ranks on a machine have one each."""
    if not launched():
        return torch.device("cuda")
    if local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"this machine has {torch.cuda.device_count()} CUDA devices, too few for each process; use --device cpu or fewer "
            "processes"
        )
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


def resolve_precision(precision: str, network: nn.Module) -> Choice[str]:
    """Return the number format inside the networks for "auto", "float32" or "bfloat16".

    Auto is float32 for now: bfloat16 must first learn as well as float32 on a benchmark of its own. How fast it is depends on the
    processor (`python -m benchmarks.precision`, the cnn policy, compiled): a Xeon with avx512_bf16 took 1.41 times as long as in
    float32, an EPYC with it (Zen 5) 0.57 times.
    """
    if precision != "auto":
        return Choice(precision, "requested")
    if not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return Choice("float32", "without convolutions, bfloat16 saves little")
    return Choice("float32", "whether bfloat16 learns as well is not measured; to try it, --precision bfloat16")


def resolve_threads(threads: int | str, work: int) -> Choice[int]:
    """Return the number of torch's CPU threads for "auto" or a number.

    The choice follows from the sizes, not from a clock: another number of threads sums in another order, and a command
    repeated must give the same numbers.

    Args:
        threads: "auto" or a number.
        work: rows of a minibatch that are computed at once, times parameters.
    """
    if threads != "auto":
        return Choice(int(threads), "requested")
    available = cores()
    number = max(1, min(available, work // WORK_PER_THREAD))
    few = f"a minibatch is too small to use more of the {available} cores"
    return Choice(number, few if number < available else "all cores")


Stop = Callable[[], bool]  # asks whether the process was told to stop


def never() -> bool:
    """Return False: there is nothing to stop for."""
    return False


class Stopped(BaseException):
    """The process was told to stop, so a rollout or an evaluation was abandoned. Not an error, so not an Exception."""


_stops: list[threading.Event] = []  # of the runs under way
_handlers: dict[int, Any] = {}  # the process's own, while a run is under way
_told: set[int] = set()  # signals that a rank has received


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into an event, for every run under way; the second has its usual effect.

    Under torchrun's agent the same signal may come again, from the agent or from a batch system that tells every process, and is
    ignored; the other one has its usual effect. An agent that is told twice to stop sends SIGTERM. See also `heed_signals`.
    """
    stop, in_main = threading.Event(), threading.current_thread() is threading.main_thread()
    _stops.append(stop)
    if in_main and not _handlers:  # only the main thread may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            _handlers[number] = signal.getsignal(number)
            signal.signal(number, _on_signal)
    try:
        yield stop
    finally:
        _stops.remove(stop)
        if not _stops:
            _restore()


def _on_signal(number: int, frame: Any) -> None:
    _told.add(number)
    if agent.attached() and _stops:
        _handlers[number] = lambda number, frame: None
    _restore()
    for stop in _stops:
        stop.set()
    if not _stops:  # the last run ended in another thread, which could not restore the handler
        signal.raise_signal(number)


def heed_signals() -> None:
    """Let this rank end by a signal also while it waits for other ranks, when Python runs no handlers.

    A thread of its own sees each signal. It leaves the first one to the run under way, and ends the process on a different one or
    where no run is under way.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_heed, args=[reader, writer], daemon=True).start()


def _heed(reader: socket.socket, writer: socket.socket) -> None:
    while numbers := reader.recv(64):  # `writer` is an argument so that it stays open
        for number in {signal.SIGINT, signal.SIGTERM}.intersection(numbers) - _told:
            _told.add(number)
            if len(_told) > 1 or not _stops:
                os._exit(128 + number)


def _restore() -> None:
    while _handlers and threading.current_thread() is threading.main_thread():
        signal.signal(*_handlers.popitem())


def cores() -> int:
    """Return the number of processor cores that this process may use; the ranks on a machine share them."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, number // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def compiler() -> str | None:
    """Return the path of the C++ compiler, None without one."""
    return shutil.which(os.environ.get("CXX", "g++"))
