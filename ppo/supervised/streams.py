"""Streams: sequences laid out as a rollout, T steps of N places, sequence after sequence in each place."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Window(NamedTuple):
    """T steps of N streams, and what the policy learns to do in each."""

    obs: Tensor  # (T, N, *obs) packed
    starts: Tensor  # (T, N) bool: the step begins a sequence
    valid: Tensor  # (T, N) bool: the action is the policy's
    actions: Tensor  # (T, N, *action) packed
    rows: Tensor  # (T, N) int64: number of the step in the demonstrations


def tables(pieces: Iterator[np.ndarray], steps: int, streams: int) -> Iterator[np.ndarray]:
    """Yield (K, T, N) of integers from pieces (K, length); a piece that a window cuts goes on in the next window.

    Args:
        pieces: endless.
        steps: T.
        streams: N.
    """
    queues: list[list[np.ndarray]] = [[] for _ in range(streams)]
    while True:
        columns = []
        for queue in queues:
            while sum(piece.shape[1] for piece in queue) < steps:
                queue.append(next(pieces))
            joined = np.concatenate(queue, axis=1)
            columns.append(joined[:, :steps])
            queue[:] = [joined[:, steps:]]
        yield np.stack(columns, axis=-1)
