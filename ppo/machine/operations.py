"""Operations that the compiler needs in another form than eager mode: a table lookup and a loop over time."""

import contextlib
import math
import pkgutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SCAN = "torch._higher_order_ops.scan:scan_op"  # private; without it, a traced loop is unrolled
STEPS_PER_ROUND = 8  # steps of a loop per iteration of the compiled scan, whose overhead is about that of one step
_thread = threading.local()


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Mark what this thread runs inside the block as traced for the compiler, not executed."""
    _thread.tracing = True
    try:
        yield
    finally:
        _thread.tracing = False


def is_tracing() -> bool:
    """Return whether this thread traces operations for the compiler."""
    return getattr(_thread, "tracing", False)


def private(name: str) -> Any:
    """Return a private object of torch, "module:attribute"; None if this version of torch does not have it."""
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return None


def lookup(index: Tensor, table: Tensor) -> Tensor:
    """Return rows (…, W) of a table (V, W) by index (…).

    Compiled for several threads, an embedding sums the gradient of a row in an order that changes from call to call;
    there, the rows are products with one-hot vectors instead.
    """
    if is_tracing() and torch.get_num_threads() > 1:
        return functional.one_hot(index, len(table)).to(table.dtype) @ table
    return functional.embedding(index, table)


def scan(
    cell: Callable[..., tuple[Tensor, Tensor]], carry: Tensor, steps: tuple[Tensor, ...], constants: tuple[Tensor, ...]
) -> Tensor:
    """Return the outputs (T, N, …) of a cell that runs over T steps; traced, the loop stays a loop.

    Args:
        cell: (carry (N, H), *rows of the steps, *constants) -> the next carry and the step's output.
        carry: (N, H) before the first step.
        steps: tensors (T, N, …); a step uses a row of each.
        constants: tensors that every step uses.
    """

    def unrolled(carry: Tensor, steps: list[Tensor], constants: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        outputs = []
        for rows in zip(*(x.unbind(0) for x in steps), strict=True):
            carry, output = cell(carry, *rows, *constants)
            outputs.append(output)
        return carry, torch.stack(outputs)

    length = math.gcd(len(steps[0]), STEPS_PER_ROUND)
    scan_op = private(SCAN) if is_tracing() and length < len(steps[0]) else None
    if scan_op is None:
        return unrolled(carry, list(steps), constants)[1]

    def body(carry: Tensor, *rest: Tensor) -> list[Tensor]:
        return list(unrolled(carry, list(rest[: len(steps)]), rest[len(steps) :]))

    rounds = [x.unflatten(0, (-1, length)) for x in steps]
    copies = tuple(x.clone() for x in constants)  # scan_op refuses views of one vector
    return scan_op(body, [carry], rounds, copies)[1].flatten(0, 1)
