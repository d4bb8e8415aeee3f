"""The ranks of a run: processes that train one policy together, started by torchrun and connected by torch.distributed.

Without torchrun there is one rank, and every function here is the identity. Ranks agree on what they do next: each of these calls
must be made by all of them, in the same order.
"""

import atexit
import contextlib
import datetime
import io
import os
import pickle
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from ppo.errors import one_line
from ppo.machine import agent

# The ranks' longest wait for one another: a rollout of the slowest environment.
TIMEOUT = datetime.timedelta(minutes=30)
# Rows of a minibatch times parameters, per rank, from which a rank computes a part of each minibatch. Below, the sum over the ranks
# takes longer (0.3 to 0.6 ms) than the rest of the minibatch does.
WORK_PER_RANK = 2_500_000
LEAST = 4  # sequences per rank: fewer of 256 steps take a GRU nearly as long (1: 12.5 ms, 2: 15, 4: 21, 8: 33, 16: 67)
LOST_CODE = 75  # exit code of a rank that lost another one: EX_TEMPFAIL of sysexits.h, "try again"
Value = TypeVar("Value")


class RankLost(Exception):
    """Another rank has ended, or does not answer, so the run cannot go on; that rank's error says why."""


def launched() -> bool:
    """Return whether this process is one of several ranks; they may not have met yet."""
    return launched_ranks() > 1


def launched_ranks() -> int:
    """Return the number of ranks that torchrun has started; they may not have met yet."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Meet the other ranks, if there are any; a second call does nothing."""
    if not launched() or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _together():
        store = agent.meeting(rank(), launched_ranks())
        own: dict[str, Any] = {} if store is None else {"store": store, "rank": rank(), "world_size": launched_ranks()}
        dist.init_process_group(backend, timeout=TIMEOUT, **own)
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


def part_of(sequences: int, work: int) -> slice:
    """Return which of a minibatch's sequences this rank computes.

    Args:
        sequences: of a minibatch.
        work: steps of a sequence times parameters.
    """
    if not shared(sequences, work, size()):
        return slice(0, sequences)
    own = sequences // size()
    return slice(rank() * own, (rank() + 1) * own)


def shared(sequences: int, work: int, ranks: int) -> bool:
    """Return whether ranks each compute a part of a minibatch; arguments as in `part_of`."""
    enough = sequences >= ranks * LEAST and sequences * work >= ranks * WORK_PER_RANK
    return ranks > 1 and sequences % ranks == 0 and enough


def gathered(value: Value) -> list[Value]:
    """Return the values of all ranks, in their order; their tensors come on the CPU."""
    if size() == 1:
        return [value]
    own = _packed(value)
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(size())]
    with _together():  # torch's all_gather_object copies a rollout of images four times more
        dist.all_gather(lengths, torch.tensor([len(own)]))
    longest = int(max(lengths))
    padded = torch.frombuffer(bytearray(own.ljust(longest, b"\0")), dtype=torch.uint8)
    packed = [padded.new_empty(longest) for _ in lengths]
    with _together():
        dist.all_gather(packed, padded)
    return [pickle.loads(data.numpy().data[: int(length)]) for data, length in zip(packed, lengths, strict=True)]


def from_first(value: Value) -> Value:
    """Return rank 0's value on all ranks; its tensors come on the CPU."""
    if size() == 1:
        return value
    packed = [b"" if rank() else _packed(value)]
    with _together():
        dist.broadcast_object_list(packed)
    return pickle.loads(packed[0])


class _Pickler(pickle.Pickler):
    """Pickle tensors as arrays; torch's own way takes a fifth of a millisecond for each."""

    def reducer_override(self, x: Any) -> Any:
        return (torch.from_numpy, (x.detach().cpu().numpy(),)) if isinstance(x, Tensor) else NotImplemented


def _packed(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


def sum_(x: Tensor) -> Tensor:
    """Replace a tensor by its sum over the ranks, the same bits on each; return it."""
    if size() > 1:
        with _together():
            dist.all_reduce(x)
    return x


def any_rank(flag: bool) -> bool:
    """Return whether the flag is True on one of the ranks."""
    return flag if size() == 1 else bool(sum_(torch.tensor(float(flag))))


def random_states() -> list[Tensor]:
    """Return the states of torch's generators, of the CPU and of this rank's CUDA device."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [])]


def set_random_states(states: list[Tensor]) -> None:
    """Restore what `random_states` returned, perhaps on another rank."""
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state(states[1])


def follow_first(tensors: list[Tensor], value: Value) -> Value:
    """Give tensors of this rank rank 0's values, and its generators their states; return rank 0's value."""
    value, values, generators = from_first((value, tensors, random_states()))
    for x, other in zip(tensors, values, strict=True):
        x.copy_(other)
    set_random_states(generators)
    return value


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Give this rank random numbers of its own inside the block; afterwards all ranks draw the same ones again.

    What the ranks draw alike is the noise of all environments' actions and the minibatches. An environment or a network that
    draws from torch's generator must not disturb that.
    """
    if size() == 1:
        yield
        return
    states = random_states()
    torch.manual_seed(int(torch.randint(2**31, ())) + rank())
    try:
        yield
    finally:
        set_random_states(states)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own, of whatever backend
        raise RankLost(f"rank {rank()} has lost another rank: {one_line(error)}") from error
