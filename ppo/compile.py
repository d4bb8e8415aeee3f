"""Compilation: a function of a policy and tensors becomes one call of machine code, kept on disk for the next start.

The function is recorded once, on tensors without data, as the operations it comes to, its gradient's among them. So it
must do the same whatever the values are; a function whose course depends on them is not compiled, and runs as it is.
On a CUDA device nothing is compiled: the kernels it launches are captured as one CUDA graph.
"""

import contextlib
import functools
import hashlib
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from ppo.files import cache_folder
from ppo.flat import FlatPolicy
from ppo.machine import compiler

MAX_OPERATIONS = 4000  # a loop that was unrolled: the C++ compiler would take minutes over it
OPTIONS = {"aot_inductor.precompile_headers": False}  # they would leave 280 MB in the temporary folder at each start
UNUSED = 30 * 86_400  # seconds after which what was compiled is removed from the cache
SECONDS = 30  # to compile both functions of a run when neither is in the cache; measured 20 to 28

Run = Callable[[list[Tensor]], list[Tensor]]
_recording = threading.local()


def resolve_compile(
    choice: str, optimizer_steps: float, vector_steps: float, attending: int, seq_len: int
) -> tuple[bool, str]:
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
        return choice == "on", "asked for"
    # Saved with two layers of 64 on a CPU of 2025: 0.8 ms of an optimizer step, 40 µs a step of a recurrent sequence
    # (forward and backward), 40 µs of a vector step. A layer of attention saves 3 ms of an optimizer step on 1,024 tokens and
    # 1 ms of a vector step of 256 sequences.
    saved = optimizer_steps * (8e-4 + 4e-5 * (seq_len - 1)) + vector_steps * 4e-5
    saved += attending * (optimizer_steps * 3e-3 + vector_steps * 1e-3)
    if compiler() is None and not torch.cuda.is_available():
        return False, "there is no C++ compiler; install g++"
    if saved < SECONDS:
        return False, f"the run is too short to win back the {SECONDS} s it may take; --compile on if you repeat it"
    return True, f"takes up to {SECONDS} s at the first start, then nothing: {cache_folder()}"


class CompileError(Exception):
    """A function that cannot be compiled; the message is the reason."""


def recording() -> bool:
    """Say whether the operations that run now are recorded for the compiler, not executed."""
    return getattr(_recording, "on", False)


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
        raise CompileError(_one_line(error)) from error
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
    for ours, theirs in zip(found, expected, strict=True):
        if not torch.allclose(ours.double(), theirs.double(), tolerance, tolerance, equal_nan=True):
            off = (ours.double() - theirs.double()).abs().max()
            raise CompileError(f"machine code and function differ by {off:.2g}")
    return run


def record(function: Callable[..., Any], tensors: list[Tensor]) -> GraphModule:
    """Return the operations that a function of tensors comes to.

    Raises:
        CompileError: its course depends on values, or is too long.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    _recording.on = True
    try:
        graph = make_fx(function, tracing_mode="fake", _error_on_data_dependent_ops=True)(*tensors)
    except Exception as error:  # whatever a policy of the user's own does that cannot be recorded
        raise CompileError(_one_line(error)) from error
    finally:
        _recording.on = False
    size = sum(len(module.graph.nodes) for module in _graphs(graph))
    if size > MAX_OPERATIONS:
        raise CompileError(f"it comes to {size:,} operations, more than {MAX_OPERATIONS:,}")
    return graph


def load(graph: GraphModule, tensors: list[Tensor]) -> Run:
    """Return machine code for a graph on tensors of these shapes, from the cache or from the compiler.

    Raises:
        CompileError: there is no C++ compiler, or it fails.
    """
    path = cache_folder() / f"{_key(graph, tensors)}.pt2"
    if path.is_file():
        with contextlib.suppress(OSError):
            path.touch()
        with contextlib.suppress(RuntimeError):  # a damaged file is made anew
            return _open(path)
    _compile(graph, tensors, path)
    for other in path.parent.glob("*.pt2"):  # 2 MB each, one for every network and batch that was ever trained
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_mtime > UNUSED:
                other.unlink()
    return _open(path)


def _open(path: Path) -> Run:
    # What torch._inductor.aoti_load_package does, without the second and a half it takes to import.
    return torch._C._aoti.AOTIModelPackageLoader(str(path), "model", True, 1, -1).run


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


def _compile(graph: GraphModule, tensors: list[Tensor], path: Path) -> None:
    if compiler() is None:
        raise CompileError("there is no C++ compiler; install g++")
    from torch._inductor import aoti_compile_and_package

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings(action="ignore"):
            program = torch.export.export(graph, tuple(tensors))
            where = str(Path(folder) / path.name)
            os.replace(aoti_compile_and_package(program, package_path=where, inductor_configs=OPTIONS), path)
    except Exception as error:  # the compiler's own text says what it lacks
        raise CompileError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _graphs(graph: GraphModule) -> list[GraphModule]:
    return [module for module in graph.modules() if isinstance(module, GraphModule)]


def _key(graph: GraphModule, tensors: list[Tensor]) -> str:
    """Return a name that changes with anything the machine code depends on."""
    digest = hashlib.sha256(f"{torch.__version__} {torch.get_num_threads()}".encode())
    digest.update(torch.backends.cpu.get_cpu_capability().encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()} {tensor.device}".encode())
    for module in _graphs(graph):
        digest.update(module.code.encode())
        for name, constant in [*module.named_buffers(recurse=False), *module.named_parameters(recurse=False)]:
            digest.update(name.encode() + constant.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]
