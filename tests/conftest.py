"""No test reads or writes the user's cache of compiled functions; what one test compiled, another one finds."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


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
