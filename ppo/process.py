"""The process: its seeds, its device, and the signals that end it."""

import contextlib
import random
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ppo.errors import UsageError


def seed_everything(seed: int, rank: int, iteration: int) -> int:
    """Seed torch, NumPy and Python from (seed, rank, iteration), and return the seed for the environments."""
    words = np.random.SeedSequence([seed, rank, iteration]).generate_state(4)
    torch.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))  # not used in this package, but perhaps by an environment
    random.seed(int(words[2]))
    return int(words[3])


def resolve_device(device: str, network: nn.Module) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda"; auto takes cuda for convolutions, where there is one.

    Raises:
        UsageError: cuda is asked for and absent.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("device = 'cuda' is asked for but torch finds no CUDA device; use --device cpu")
    # A network of a few thousand weights spends more time on its way to a GPU than in it.
    convolutional = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return torch.device("cuda" if device == "cuda" or (device == "auto" and available and convolutional) else "cpu")


@contextlib.contextmanager
def stopped_by_signal() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into an event; a second one has its usual effect."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(*_: Any) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
