"""Compilation: a function of a policy and tensors becomes one call of machine code, kept on disk for the next start.

The function and its gradient are traced once on fake tensors, so it must not branch on values; one that does is left
uncompiled and runs eagerly. On a CUDA device nothing is compiled: the kernels are captured as one CUDA graph.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ppo.errors import one_line
from ppo.machine.cache import cache_folder
from ppo.machine.cuda_graph import capture, restore_after
from ppo.machine.flat import FlatPolicy
from ppo.machine.inductor import CompileError, Run, begin, trace
from ppo.machine.phase import phase
from ppo.machine.process import Choice, compiler

Function = Callable[..., tuple[Tensor, ...]]
SECONDS = 20  # to compile both functions of a run at once when neither is in the cache; measured on two slow cores


def resolve_compile(
    setting: str, optimizer_steps: float, vector_steps: float, attention_layers: int, seq_len: int
) -> Choice[bool]:
    """Return whether to compile a run; "auto" does if the run is long enough to repay the compile time.

    The choice follows from the settings, not from a clock or the cache, so that a command repeated gives the same
    numbers.

    Args:
        setting: "auto", "on" or "off".
        optimizer_steps: of the whole run.
        vector_steps: of the whole run.
        attention_layers: of a transformer.
        seq_len: L, over which a recurrent policy loops.
    """
    if setting != "auto":
        return Choice(setting == "on", "requested")
    # Measured savings with two layers of 64 on the same cores: 1.8 ms per optimizer step, 0.23 ms per vector step. On a core that
    # is twice as fast: 40 µs per step of a recurrent sequence (forward and backward); for an attention layer 3 ms per optimizer
    # step on 1,024 tokens and 1 ms per vector step of 256 sequences.
    saved = optimizer_steps * (1.8e-3 + 4e-5 * (seq_len - 1)) + vector_steps * 2.3e-4
    saved += attention_layers * (optimizer_steps * 3e-3 + vector_steps * 1e-3)
    if compiler() is None and not torch.cuda.is_available():
        return Choice(False, "there is no C++ compiler; install g++")
    if saved < SECONDS:
        return Choice(False, f"the run is too short to repay {SECONDS} s of compiling; if you repeat it, --compile on")
    return Choice(
        True, f"compiles for up to {SECONDS} s at the first start, then loads from the cache {cache_folder()}"
    )


class Compiled:
    """A function (FlatPolicy, *tensors) -> tuple of tensors, compiled when it is first bound, or else run eagerly.

    Args:
        function: may change the vector and its arguments in place.
        policy: its first argument.
        enabled: False runs it eagerly; so does True if it cannot be compiled, and `reason` says why.
        name: of the function, for people.
    """

    def __init__(self, function: Function, policy: FlatPolicy, enabled: bool, name: str = "policy") -> None:
        self.function, self.policy, self.enabled, self.name = function, policy, enabled, name
        self.reason = ""
        self.run: Run | None = None
        self.wait: Callable[[], Run] | None = None  # for the machine code
        self.shapes: list[torch.Size] = []  # of the arguments that it is compiled for

    def prepare(self, *example: Tensor) -> None:
        """Begin to compile for tensors with the shapes, strides and dtypes of `example`; `bind` waits for the end.

        Functions that are prepared before the first of them is bound are compiled at the same time.
        """
        tensors = self._tensors(example)
        if not self.enabled or self.shapes or tensors[0].is_cuda:  # kernels are captured as they are
            return
        self.shapes = [x.shape for x in example]
        try:
            with phase(f"tracing the {self.name}"), torch.no_grad():
                self.wait = begin(trace(self._pure_function(), tensors), tensors)
        except CompileError as error:
            self.reason = str(error)

    def bind(self, *example: Tensor) -> Callable[..., Any]:
        """Return the function of tensors with the shapes, strides and dtypes of `example`, whose values stay.

        Call again before every rollout and update: the policy may have replaced its buffers in between.
        """
        tensors, shapes = self._tensors(()), [x.shape for x in example]
        if self.enabled and self.run is None and not self.reason:
            with phase(f"compiling the {self.name}: up to {SECONDS} s the first time, then cached"):
                self._compile(example)
        run = self.run
        if run is None or self.shapes != shapes:
            return functools.partial(self.function, self.policy)
        return lambda *arguments: run([*tensors, *arguments])

    @torch.no_grad()
    def _compile(self, example: tuple[Tensor, ...]) -> None:
        """Wait for the machine code, and compare it with the function; set `run`, or else `reason`."""
        self.prepare(*example)
        function, tensors = self._pure_function(), self._tensors(example)
        try:
            if tensors[0].is_cuda:
                self.shapes, run = [x.shape for x in example], capture(function, tensors)
            elif self.wait is not None and self.shapes == [x.shape for x in example]:
                run = self.wait()
            else:
                return
            verify(run, function, tensors, 1e-3 if self.policy.precision == "float32" else 5e-2)
            self.run = run
        except CompileError as error:
            self.reason = str(error)
        except RuntimeError as error:  # torch's own
            self.reason = one_line(error)

    def _tensors(self, arguments: tuple[Tensor, ...]) -> list[Tensor]:
        return [self.policy.vector, *self.policy.other_tensors().values(), *arguments]

    def _pure_function(self) -> Function:
        """Return the function with all that the policy reads as arguments: the vector, then untrained tensors by name."""
        names = tuple(self.policy.other_tensors())

        def pure_function(vector: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            untrained, arguments = tensors[: len(names)], tensors[len(names) :]
            policy = self.policy.with_tensors(vector, dict(zip(names, untrained, strict=True)))
            return self.function(policy, *arguments)

        return pure_function


@torch.no_grad()
def verify(run: Run, function: Function, tensors: list[Tensor], tolerance: float) -> None:
    """Compare machine code with its function: outputs, and arguments changed in place; the tensors' values stay.

    Raises:
        CompileError: they differ by more than the tolerance, relative and absolute.
    """
    copies = [x.clone() for x in tensors]
    expected = [*function(*copies), *copies]
    with restore_after(tensors):
        results = [*run(tensors), *(x.clone() for x in tensors)]
    for x, y in zip(results, expected, strict=True):
        if not torch.allclose(x.double(), y.double(), tolerance, tolerance, equal_nan=True):
            difference = (x.double() - y.double()).abs().max()
            raise CompileError(f"machine code and function differ by {difference:.2g}")
