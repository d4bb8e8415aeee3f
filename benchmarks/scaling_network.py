"""Measure what the exchanges of several ranks take, on this machine or through networks with a latency.

    python -m benchmarks.scaling_network --ranks 8 --delay 1

One process a rank, all on this machine. With a delay, each rank is in a network namespace of its own (benchmarks/scaling_links.py).
It prints JSON: the seconds of each exchange by the number of ranks and of floats.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from torch import distributed as dist

from benchmarks.scaling_links import Link, links
from ppo.machine.distributed import join, leave, rank, size

ROOT = Path(__file__).parents[1]
# Floats, and how often an exchange of that size is repeated in each of BATCHES.
FLOATS = {10_000: 10, 1_000_000: 3, 10_000_000: 1}
BATCHES = 5  # of which the median counts


class Point(NamedTuple):
    """A measurement: the mean seconds of an exchange, in the median batch."""

    exchange: str
    ranks: int
    floats: int
    seconds: float


def exchanges(floats: int, ranks: int, group: Any) -> dict[str, Callable[[], Any]]:
    """Return what the ranks exchange in training.

    The all-reduce sums a gradient over the ranks; the gather brings a rollout, of which each rank has a share, to all; the
    broadcast brings rank 0's weights to all.
    """
    x, own = torch.ones(floats), np.ones(floats // ranks, np.float32)
    return {
        "all-reduce": lambda: dist.all_reduce(x.fill_(1), group=group),
        "gather": lambda: dist.all_gather_object([None] * ranks, own, group),
        "broadcast": lambda: dist.broadcast_object_list([x.numpy()], 0, group),
    }


def points(floats: dict[int, int] = FLOATS) -> list[Point]:
    """Return the measurements of the first 2, 3, … ranks; every rank must call it."""
    measured = []
    for ranks in range(2, size() + 1):
        group = dist.new_group(list(range(ranks)))
        if rank() < ranks:
            for number, repeats in floats.items():
                for name, exchange in exchanges(number, ranks, group).items():
                    measured.append(Point(name, ranks, number, seconds_of(exchange, repeats, group)))
        dist.barrier()
    return measured


def seconds_of(exchange: Callable[[], Any], repeats: int, group: Any) -> float:
    """Return the seconds of an exchange."""
    batches = []
    exchange()
    for _ in range(BATCHES):
        dist.barrier(group)
        begin = time.perf_counter()
        for _ in range(repeats):
            exchange()
        batches.append((time.perf_counter() - begin) / repeats)
    return statistics.median(batches)


def measure(ranks: int, delay: float) -> list[Point]:
    """Return the measurements of 2 to `ranks` ranks.

    Args:
        ranks: the most.
        delay: latency of the network in one direction, ms; 0: the loopback device.

    Raises:
        OSError: the networks cannot be made here; the message says what is missing.
    """
    with links(ranks, delay) as places:
        processes = [_start(place, number, ranks, places[0].address) for number, place in enumerate(places)]
        try:
            output = processes[0].communicate()[0]
        finally:
            for process in processes:
                process.kill() if sys.exc_info()[0] else process.wait()
    if any(process.returncode for process in processes):
        raise SystemExit("a rank ended with an error, which is above")
    return [Point(*point) for point in json.loads(output.splitlines()[-1])]


def _start(place: Link, number: int, ranks: int, address: str) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "RANK": str(number), "WORLD_SIZE": str(ranks), "MASTER_ADDR": address, "MASTER_PORT": str(place.port),
        "GLOO_SOCKET_IFNAME": place.device, "OMP_NUM_THREADS": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # it warns that addresses have no names
    }  # fmt: skip
    command = [*place.command, sys.executable, "-m", "benchmarks.scaling_network"]
    output = subprocess.DEVNULL if number else subprocess.PIPE  # rank 0 prints
    return subprocess.Popen(command, stdout=output, text=True, env=environment, cwd=ROOT)


def main(ranks: int = 8, delay: float = 0.0) -> None:
    """Measure the exchanges of 2 to `ranks` ranks, and print them as JSON.

    Args:
        ranks: the most.
        delay: latency of the network in one direction, ms; 0: the loopback device.
    """
    if "RANK" not in os.environ:
        found = measure(ranks, delay)
    else:
        torch.set_num_threads(1)
        join()
        found = points()
        leave()
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found))


if __name__ == "__main__":
    tyro.cli(main)
