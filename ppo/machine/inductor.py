"""Machine code from torch's compiler: a function of tensors is traced, compiled ahead of time and kept on disk."""

import contextlib
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from ppo.machine.cache import cache_folder
from ppo.machine.operations import _recording
from ppo.machine.process import compiler

MAX_OPERATIONS = 4000  # a loop that was unrolled: the C++ compiler would take minutes over it
OPTIONS = {"aot_inductor.precompile_headers": False}  # they would leave 280 MB in the temporary folder at each start
UNUSED = 30 * 86_400  # seconds after which what was compiled is removed from the cache

Run = Callable[[list[Tensor]], list[Tensor]]


class CompileError(Exception):
    """A function that cannot be compiled; the message is the reason."""


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
        raise CompileError(one_line(error)) from error
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
        raise CompileError(one_line(error)) from error


def one_line(error: Exception) -> str:
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
