"""Compilation: a function of a policy and tensors becomes one call of machine code, kept on disk for the next start.

The function is recorded once, on tensors without data, as the operations it comes to, its gradient's among them. So it
must do the same whatever the values are; a function whose course depends on them is not compiled, and runs as it is.
On a CUDA device nothing is compiled: the kernels it launches are captured as one CUDA graph.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ppo.machine.cache import cache_folder
from ppo.machine.cuda_graph import capture
from ppo.machine.flat import FlatPolicy
from ppo.machine.inductor import CompileError, Run, load, one_line, record
from ppo.machine.process import Choice, compiler

SECONDS = 30  # to compile both functions of a run when neither is in the cache; measured 20 to 28


def resolve_compile(choice: str, optimizer_steps: float, vector_steps: float, attending: int, seq_len: int) -> Choice:
    """Return whether a run is compiled, and why; "auto" does where it is long enough to win back the time it takes.

    It follows from the settings, not from a clock or the cache: the same command is to give the same numbers again.

    Args:
        choice: "auto", "on" or "off".
        optimizer_steps: of the whole run.
        vector_steps: of the whole run.
        attending: layers of a transformer.
        seq_len: L, over which a recurrent policy loops.
    """
    if choice != "auto":
        return Choice(choice == "on", "asked for")
    # Saved with two layers of 64 on a CPU of 2025: 0.8 ms of an optimizer step, 40 µs a step of a recurrent sequence
    # (forward and backward), 40 µs of a vector step. A layer of attention saves 3 ms of an optimizer step on 1,024 tokens and
    # 1 ms of a vector step of 256 sequences.
    saved = optimizer_steps * (8e-4 + 4e-5 * (seq_len - 1)) + vector_steps * 4e-5
    saved += attending * (optimizer_steps * 3e-3 + vector_steps * 1e-3)
    if compiler() is None and not torch.cuda.is_available():
        return Choice(False, "there is no C++ compiler; install g++")
    if saved < SECONDS:
        return Choice(
            False, f"the run is too short to win back the {SECONDS} s it may take; --compile on if you repeat it"
        )
    return Choice(True, f"takes up to {SECONDS} s at the first start, then nothing: {cache_folder()}")


class Compiled:
    """A function (FlatPolicy, *tensors) -> tuple of tensors, compiled when it is first bound, or run as it is.

    Args:
        function: may change the vector and its arguments in place.
        policy: its first argument.
        enabled: False runs it as it is; so does True where `reason` says why it cannot be compiled.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], policy: FlatPolicy, enabled: bool) -> None:
        self.function, self.policy, self.enabled = function, policy, enabled
        self.reason = ""
        self.run: Run | None = None
        self.shapes: list[torch.Size] = []  # that it was compiled for

    def bind(self, *example: Tensor) -> Callable[..., Any]:
        """Return a function of tensors with the shapes, strides and dtypes of `example`, whose values it keeps.

        Bind anew for each rollout or update: a policy may have exchanged its buffers in between.
        """
        others = self.policy.others()
        lifted = [self.policy.vector, *others.values()]
        if self.enabled and self.run is None and not self.reason:
            try:
                self.shapes = [x.shape for x in example]
                tolerance = 1e-3 if self.policy.precision == "float32" else 5e-2
                self.run = _compiled(self._lifted(tuple(others)), [*lifted, *example], tolerance)
            except CompileError as error:
                self.reason = str(error)
        run = self.run
        if run is None or self.shapes != [x.shape for x in example]:
            return functools.partial(self.function, self.policy)
        return lambda *tensors: run([*lifted, *tensors])

    def _lifted(self, names: tuple[str, ...]) -> Callable[..., tuple[Tensor, ...]]:
        """Return the function with everything the policy reads among its arguments."""

        def lifted(vector: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            others, arguments = tensors[: len(names)], tensors[len(names) :]
            policy = self.policy.over(vector, dict(zip(names, others, strict=True)))
            return self.function(policy, *arguments)

        return lifted


@torch.no_grad()
def _compiled(function: Callable[..., tuple[Tensor, ...]], tensors: list[Tensor], tolerance: float) -> Run:
    """Compile a function of tensors, and compare it with the function itself on these; their values stay.

    Raises:
        CompileError: it cannot be compiled, or does not do the same.
    """
    before, reference = [[x.detach().clone() for x in tensors] for _ in range(2)]
    expected = [*function(*reference), *reference]
    try:
        run = capture(function, tensors) if tensors[0].is_cuda else load(record(function, tensors), tensors)
        found = [*run(tensors), *(x.clone() for x in tensors)]
    except RuntimeError as error:  # of torch, whose own text says what is wrong
        raise CompileError(one_line(error)) from error
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
    for ours, theirs in zip(found, expected, strict=True):
        if not torch.allclose(ours.double(), theirs.double(), tolerance, tolerance, equal_nan=True):
            off = (ours.double() - theirs.double()).abs().max()
            raise CompileError(f"machine code and function differ by {off:.2g}")
    return run
