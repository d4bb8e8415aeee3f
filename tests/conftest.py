"""What all tests share: a cache of compiled functions of their own, Ctrl-C, and stand-ins for packages."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Hide CUDA devices from all tests but those of `-m cuda`: next to one, code for the processor is not compiled."""
    if "cuda" not in config.option.markexpr.replace("not cuda", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which compiled functions are kept while the tests run, in subprocesses too."""
    folder = tmp_path_factory.mktemp("cache")
    logging.getLogger("torch.__trace").propagate = False  # thousands of records, which pytest would keep
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPO_CACHE", str(folder / "ppo"))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        patch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")  # spares trial compilations: 8 s
        patch.setenv("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")  # of the code around the kernels: 3 s a function
        yield folder / "ppo"


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Hear SIGINT also where a shell runs the tests in the background, with that signal ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch use one thread: on small networks, threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the packages of tests/stand_ins take the place of those that are not installed."""
    folder = Path(__file__).parent / "stand_ins"
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    yield
    ours = [name for name, module in sys.modules.items() if str(folder) in str(getattr(module, "__file__", ""))]
    for env_id, spec in list(gymnasium.registry.items()):
        if str(spec.entry_point).partition(".")[0] in ours:
            del gymnasium.registry[env_id]
    for name in ours:
        del sys.modules[name]
