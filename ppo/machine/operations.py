"""Operations that the compiler needs in another form than Python: a table lookup and a loop over time."""

import math
import threading
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

UNROLLED = 8  # steps at most in one round of a recorded loop, which costs as much as a step does
_recording = threading.local()


def recording() -> bool:
    """Say whether the operations that run now are recorded for the compiler, not executed."""
    return getattr(_recording, "on", False)


def lookup(index: Tensor, table: Tensor) -> Tensor:
    """Return rows (…, W) of a table (V, W) by their numbers.

    Machine code for several threads adds up the gradient of a row in any order, and so not the same twice; there the
    rows are products with vectors of zeros and a one.
    """
    if recording() and torch.get_num_threads() > 1:
        return functional.one_hot(index, len(table)).to(table.dtype) @ table
    return functional.embedding(index, table)


def over_time(
    cell: Callable[..., tuple[Tensor, Tensor]],
    carry: Tensor,
    steps: tuple[Tensor, ...],
    constants: tuple[Tensor, ...],
) -> Tensor:
    """Return the outputs (T, N, …) of a cell, step after step.

    Args:
        cell: (carry (N, H), *rows of the steps, *constants) -> the next carry and the step's output.
        carry: (N, H) before the first step.
        steps: tensors (T, N, …), a row of each for every step.
        constants: what every step uses.
    """

    def run(carry: Tensor, steps: list[Tensor], constants: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        outputs = []
        for rows in zip(*(x.unbind(0) for x in steps), strict=True):
            carry, output = cell(carry, *rows, *constants)
            outputs.append(output)
        return carry, torch.stack(outputs)

    length = math.gcd(len(steps[0]), UNROLLED)
    if not recording() or length == len(steps[0]):
        return run(carry, list(steps), constants)[1]
    from torch._higher_order_ops.scan import scan_op

    def body(carry: Tensor, *rest: Tensor) -> list[Tensor]:
        return list(run(carry, list(rest[: len(steps)]), rest[len(steps) :]))

    rounds = [x.unflatten(0, (-1, length)) for x in steps]
    apart = tuple(x.clone() for x in constants)  # views of one vector, which scan does not take
    return scan_op(body, [carry], rounds, apart)[1].flatten(0, 1)
