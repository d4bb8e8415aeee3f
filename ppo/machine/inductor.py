"""AOTInductor: a function of tensors is traced, compiled to machine code and kept on disk.

On Linux a fork of this process compiles it, so that several functions are compiled at the same time.
"""

import contextlib
import functools
import gc
import hashlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
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


def begin(graph: GraphModule, tensors: list[Tensor]) -> Callable[[], Run]:
    """Begin to compile a graph for tensors of these shapes, and return the function that waits for its machine code.

    Machine code that is in the cache is not compiled again.

    Raises:
        CompileError: there is a CUDA device, or no C++ compiler, or it fails; so does the function that waits.
    """
    if torch.cuda.is_available():  # on a machine with an H100 the first call ended the process (torch 2.11)
        raise CompileError(
            "code for the processor crashed next to a CUDA device; to compile, set CUDA_VISIBLE_DEVICES=''"
        )
    path = cache_path(graph, tensors)
    run, command = _cached(path), compiler()
    if run is not None:
        return lambda: run
    if command is None:
        raise CompileError("there is no C++ compiler; install g++")
    compile_ = functools.partial(_compile, graph, tensors, path, command, torch.get_num_threads())
    if sys.platform == "linux" and not multiprocessing.current_process().daemon:  # a daemon may not have children
        return _fork(compile_, path)
    compile_()
    return lambda: _open(path)


def _cached(path: Path) -> Run | None:
    try:
        known = path.is_file()
    except OSError as error:
        raise CompileError(f"the cache folder {path.parent} cannot be read: {error.strerror}; set PPO_CACHE") from error
    if known:
        with contextlib.suppress(OSError):
            path.touch()
        with contextlib.suppress(RuntimeError):  # a damaged file is compiled again
            return _open(path)
    return None


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


def _fork(compile_: Callable[[], None], path: Path) -> Callable[[], Run]:
    """Compile in another process, and return the function that waits for it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(compile_, sender), daemon=True)
    with warnings.catch_warnings(action="ignore"):  # threads do not survive a fork; the child needs none
        process.start()
    sender.close()

    def wait() -> Run:
        try:
            reason = receiver.recv()
        except EOFError:
            reason = "the process that compiled it was killed"
        process.join()
        if reason:
            raise CompileError(reason)
        return _open(path)

    return wait


def _answer(compile_: Callable[[], None], sender: Connection) -> None:
    """Compile in this process, a fork, and send the reason why it failed, or else nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # Whoever is connected to the parent must notice its end, though this process lives on. The parent's objects that own these files
    # must not be collected here, where they would close them again.
    gc.freeze()
    os.closerange(3, sender.fileno())
    os.closerange(sender.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    torch.set_num_threads(1)  # OpenMP would wait for the threads that a fork does not have
    logging.disable(logging.WARNING)  # torch's CUDA build warns that it finds no device
    reason = ""
    try:
        compile_()
    except CompileError as error:
        reason = str(error)
    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        sender.send(reason)


def _compile(graph: GraphModule, tensors: list[Tensor], path: Path, command: str, threads: int) -> None:
    """Write the machine code to the cache, unless another process has just done so."""
    from torch._inductor import aoti_compile_and_package

    # Precompiled headers would leave 280 MB in the temporary folder at each start. Torch would compile and run a program first
    # to see whether the compiler knows the processor's vector instructions; one that does not fails here and says so.
    # The wrapper calls the kernels; at torch's own level, O1, it takes 2 s more to compile and is no faster.
    options = {
        "cpp.cxx": (command,), "cpp.threads": threads, "cpp.vec_isa_ok": True,
        "aot_inductor.precompile_headers": False, "aot_inductor.compile_wrapper_opt_level": "Og",
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            alone(path),  # the ranks of a run want the same code
            tempfile.TemporaryDirectory(dir=path.parent) as folder,
            warnings.catch_warnings(action="ignore"),
        ):
            if _cached(path) is None:
                program, package = torch.export.export(graph, tuple(tensors)), str(Path(folder) / path.name)
                aoti_compile_and_package(program, package_path=package, inductor_configs=options)
                # Code that crashes ends this process, not the run. For several threads it would wait for those a fork has not.
                if threads == 1:
                    _open(Path(package))([x.new_empty_strided(x.shape, x.stride()).copy_(x) for x in tensors])
                os.replace(package, path)
    except Exception as error:  # from torch or the compiler: anything
        output = " ".join(str(error).partition("\nOutput:\n")[2].split())  # of the compiler, after a long command
        raise CompileError(f"{command} fails: {output[:200]}" if output else one_line(error)) from error
    # An entry is 2 MB of machine code for every network and batch that was ever trained, and its lock.
    for entry in path.parent.glob("*.[pl]*"):
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > EXPIRY:
                entry.unlink()


def _graphs(graph: GraphModule) -> list[GraphModule]:
    return [module for module in graph.modules() if isinstance(module, GraphModule)]
