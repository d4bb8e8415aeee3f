"""What `import ppo` offers comes when it is first used."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ppo


def test_every_name_is_there_and_is_the_one_of_its_module():
    assert {"Config", "Trainer", "evaluate", "load_policy", "UsageError"} <= set(ppo.__all__)
    assert all(getattr(ppo, name) is getattr(importlib.import_module("ppo.api"), name) for name in ppo.__all__)
    assert set(ppo.__all__) <= set(dir(ppo))
    assert ppo.envs.make_envs is ppo.make_envs


def test_no_name_is_that_of_a_submodule_which_would_hide_it():
    assert {path.stem for path in Path(ppo.__file__).parent.iterdir()} & set(ppo.__all__) == set()


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Traner'"):
        ppo.Traner  # noqa: B018
    with pytest.raises(ImportError):
        from ppo import Traner  # noqa: F401


def test_a_star_brings_the_names():
    namespace: dict[str, object] = {}
    exec("from ppo import *", namespace)
    assert set(ppo.__all__) == set(namespace) - {"__builtins__"}


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_spin_for_a_short_time_unless_the_user_says_otherwise(own, expected):
    rest = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import ppo, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=rest | own)
    assert done.stdout.strip() == expected


def test_importing_the_package_imports_no_torch():
    code = "import sys, ppo; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(__file__) + "/..")  # fmt: skip
    assert done.stdout.split() == ["False"], done.stderr
