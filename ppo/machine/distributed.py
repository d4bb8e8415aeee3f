"""The ranks of a run: processes that train one policy together, started by torchrun and connected by torch.distributed.

Without torchrun there is one rank, and every function here is the identity. Ranks agree on what they do next: each of these calls
must be made by all of them, in the same order.
"""

import atexit
import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from ppo.errors import one_line

TIMEOUT = datetime.timedelta(
    minutes=30
)  # of the ranks' longest wait for one another: a rollout of the slowest environment
Value = TypeVar("Value")


class RankLost(Exception):
    """Another rank has ended, or does not answer, so the run cannot go on; that rank's error says why."""


def launched() -> bool:
    """Return whether this process is one of several ranks; they may not have met yet."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join() -> None:
    """Meet the other ranks, if there are any; a second call does nothing."""
    if not launched() or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _together():
        dist.init_process_group(backend, timeout=TIMEOUT)
    atexit.register(leave)  # torch's threads would abort an exit without it


def leave() -> None:
    """Part from the other ranks, which notice at once."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return this process's number among the ranks; 0 is the one that writes and prints."""
    return int(os.environ["RANK"]) if launched() else 0


def local_rank() -> int:
    """Return this process's number among the ranks of this machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched() else 0


def size() -> int:
    """Return the number of ranks that have met; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gathered(value: Value) -> list[Value]:
    """Return the values of all ranks, in their order; tensors must be on the CPU."""
    values = [value] * size()
    if size() > 1:
        with _together():
            dist.all_gather_object(values, value)
    return values


def sum_(x: Tensor) -> Tensor:
    """Replace a tensor by its sum over the ranks, the same bits on each; return it."""
    if size() > 1:
        with _together():
            dist.all_reduce(x)
    return x


def any_rank(flag: bool) -> bool:
    """Return whether the flag is True on one of the ranks."""
    return flag if size() == 1 else bool(sum_(torch.tensor(float(flag))))


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Give this rank random numbers of its own inside the block; afterwards all ranks draw the same ones again.

    What the ranks draw alike is the noise of all environments' actions and the minibatches. An environment or a network that
    draws from torch's generator must not disturb that.
    """
    if size() == 1:
        yield
        return
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        torch.manual_seed(int(torch.randint(2**31, ())) + rank())
        yield


@contextlib.contextmanager
def first_on_machine() -> Iterator[None]:
    """Let one rank of each machine run the block, then the others, which may use the files that it wrote."""
    waits = local_rank() > 0
    if waits:
        gathered(None)
    yield
    if not waits:
        gathered(None)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own, of whatever backend
        raise RankLost(f"rank {rank()} has lost another rank: {one_line(error)}") from error
