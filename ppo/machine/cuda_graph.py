"""CUDA graphs: the kernels that a function launches, captured once and replayed."""

from collections.abc import Callable

import torch
from torch import Tensor

from ppo.machine.inductor import Run


def capture(function: Callable[..., tuple[Tensor, ...]], tensors: list[Tensor]) -> Run:
    """Return a function that replays what a function launches on a CUDA device, on whatever tensors it is given.

    Arguments that are these very tensors are read and changed where they are, others are copied into their place.
    """
    values, seen = [x.clone() for x in tensors], list(tensors)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries choose their kernels at their first calls, which cannot be captured
        function(*tensors)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(*tensors)
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)

    def replay(given: list[Tensor]) -> list[Tensor]:
        for n, (x, static) in enumerate(zip(given, tensors, strict=True)):
            if x is not seen[n]:
                static.copy_(x)
                seen[n] = x
        graph.replay()
        return [x.clone() for x in outputs]

    return replay
