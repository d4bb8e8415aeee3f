"""AOTInductor: a function of tensors is traced, compiled to machine code and kept on disk."""

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

from ppo.errors import one_line
from ppo.machine.cache import alone, cache_folder
from ppo.machine.operations import private, tracing
from ppo.machine.process import compiler

MAKE_FX = "torch.fx.experimental.proxy_tensor:make_fx"  # private; without it, nothing is compiled
LOADER = "torch:_C._aoti.AOTIModelPackageLoader"  # private; aoti_load_package, the public way, takes 1.5 s to import
MAX_OPERATIONS = 4000  # more come from an unrolled loop, which takes the C++ compiler minutes
EXPIRY = 30 * 86_400  # seconds without use after which an entry of the cache is removed

Run = Callable[[list[Tensor]], list[Tensor]]


class CompileError(Exception):
    """A function that cannot be compiled; the message is the reason."""


def trace(function: Callable[..., Any], tensors: list[Tensor]) -> GraphModule:
    """Return the operations of a function of tensors as a graph.

    Raises:
        CompileError: the function branches on values, or has too many operations.
    """
    make_fx = private(MAKE_FX)
    if make_fx is None:
        raise CompileError(f"torch {torch.__version__} has no {MAKE_FX}; install a version within setup.cfg's range")
    try:
        with tracing():
            graph = make_fx(function, tracing_mode="fake")(*tensors)
    except Exception as error:  # from a user's own policy: anything
        raise CompileError(one_line(error)) from error
    size = sum(len(module.graph.nodes) for module in _graphs(graph))
    if size > MAX_OPERATIONS:
        raise CompileError(f"it has {size:,} operations, more than {MAX_OPERATIONS:,}; is a loop unrolled?")
    return graph


def load(graph: GraphModule, tensors: list[Tensor]) -> Run:
    """Return machine code for a graph on tensors of these shapes, from the cache or else from the compiler.

    Raises:
        CompileError: there is no C++ compiler, or it fails.
    """
    path = cache_path(graph, tensors)
    with alone(path) if compiler() else contextlib.nullcontext():  # the ranks of a run want the same code
        try:
            known = path.is_file()
        except OSError as error:
            raise CompileError(
                f"the cache folder {path.parent} cannot be read: {error.strerror}; set PPO_CACHE"
            ) from error
        if known:
            with contextlib.suppress(OSError):
                path.touch()
            with contextlib.suppress(RuntimeError):  # a damaged file is compiled again
                return _open(path)
        _compile(graph, tensors, path)
    # An entry is 2 MB of machine code for every network and batch that was ever trained, and its lock.
    for entry in path.parent.glob("*.[pl]*"):
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > EXPIRY:
                entry.unlink()
    return _open(path)


def cache_path(graph: GraphModule, tensors: list[Tensor]) -> Path:
    """Return the cache file of a graph; its name changes with everything that the machine code depends on."""
    digest = hashlib.sha256(f"{torch.__version__} {torch.get_num_threads()}".encode())
    digest.update(torch.backends.cpu.get_cpu_capability().encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()} {tensor.device}".encode())
    for module in _graphs(graph):
        digest.update(module.code.encode())
        for name, constant in [*module.named_buffers(recurse=False), *module.named_parameters(recurse=False)]:
            digest.update(name.encode() + constant.detach().cpu().numpy().tobytes())
    return cache_folder() / f"{digest.hexdigest()[:32]}.pt2"


def _open(path: Path) -> Run:
    loader = private(LOADER)
    if loader is not None:
        with contextlib.suppress(AttributeError, TypeError):  # of another version of torch
            return loader(str(path), "model", True, 1, -1).run
    from torch._inductor import aoti_load_package

    model = aoti_load_package(str(path), run_single_threaded=True)
    return lambda tensors: list(model(*tensors))


def _compile(graph: GraphModule, tensors: list[Tensor], path: Path) -> None:
    command = compiler()
    if command is None:
        raise CompileError("there is no C++ compiler; install g++")
    from torch._inductor import aoti_compile_and_package

    # Precompiled headers would leave 280 MB in the temporary folder at each start. Torch would compile and run a program first
    # to see whether the compiler knows the processor's vector instructions; one that does not fails here and says so.
    options = {"cpp.cxx": (command,), "aot_inductor.precompile_headers": False, "cpp.vec_isa_ok": True}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings(action="ignore"):
            program = torch.export.export(graph, tuple(tensors))
            package = str(Path(folder) / path.name)
            aoti_compile_and_package(program, package_path=package, inductor_configs=options)
            os.replace(package, path)
    except Exception as error:  # from torch or the compiler: anything
        output = " ".join(str(error).partition("\nOutput:\n")[2].split())  # of the compiler, after a long command
        raise CompileError(f"{command} fails: {output[:200]}" if output else one_line(error)) from error


def _graphs(graph: GraphModule) -> list[GraphModule]:
    return [module for module in graph.modules() if isinstance(module, GraphModule)]
