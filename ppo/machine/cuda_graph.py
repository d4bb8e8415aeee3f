"""CUDA graphs: the kernels that a function launches, captured once and replayed."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ppo.machine.inductor import Run


def capture(function: Callable[..., tuple[Tensor, ...]], tensors: list[Tensor]) -> Run:
    """Return a function of tensors that replays the kernels which `function` launches on these; their values stay.

    The kernels read and change `tensors` in place. Another tensor is copied there first, unless it is the same tensor
    as in the call before: whoever changes it in place between calls must pass the tensor of the capture.
    """
    with restore_after(tensors):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their kernels at the first call, which cannot be captured
            function(*tensors)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(*tensors)
    copied = list(tensors)

    def replay(arguments: list[Tensor]) -> list[Tensor]:
        for n, (x, static) in enumerate(zip(arguments, tensors, strict=True)):
            if x is not copied[n]:
                static.copy_(x)
                copied[n] = x
        graph.replay()
        return [x.clone() for x in outputs]

    return replay


@contextlib.contextmanager
def restore_after(tensors: list[Tensor]) -> Iterator[None]:
    """Restore the values of tensors when the block ends."""
    values = [x.clone() for x in tensors]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
