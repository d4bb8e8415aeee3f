"""A user's own code is imported by name, and a name that does not exist is one sentence."""

import json
import os
import subprocess
import sys
from collections import OrderedDict

import pytest

from ppo.errors import UsageError
from ppo.machine.imports import import_name, import_user_module, is_installed, only_trusted, trusting


def test_a_name_is_the_object_in_its_module():
    assert import_name("collections:OrderedDict", "policy") is OrderedDict
    assert import_user_module("json", "import") is json


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json", "policy = 'json' must have the form package.module:Name"),
        (":Name", "policy = ':Name' must have the form package.module:Name"),
        ("json:", "policy = 'json:' must have the form package.module:Name"),
        ("json:Nothing", "policy = 'json:Nothing': module json has no Nothing"),
        ("json:loaded", "policy = 'json:loaded': module json has no loaded; did you mean load?"),
        ("no_such:Name", "policy = 'no_such:Name': there is no module no_such; is it on PYTHONPATH?"),
        ("json.no_such:Name", "policy = 'json.no_such:Name': there is no module json.no_such; is it on PYTHONPATH?"),
        (".local:Name", "policy = '.local:Name' is relative; give the module's full name"),
    ],
)
def test_a_name_that_does_not_exist_is_a_usage_error(name, message):
    with pytest.raises(UsageError) as caught:
        import_name(name, "policy")
    assert str(caught.value) == message


def test_an_error_inside_the_users_module_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        import_name("faulty:Name", "policy")


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Two modules that leave a file when they are imported."""
    for name in ("mine_only", "evil_only"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'w').close()\nName = 1\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_the_user_typed_may_also_be_an_argument_of_the_environment(modules):
    with only_trusted("runs/theirs", False, [{"reward": "mine_only:Name", "length": 3}]):
        assert import_name("mine_only:Name", "reward") == 1


def test_a_file_in_the_current_folder_is_not_an_installed_package(modules, monkeypatch):
    monkeypatch.chdir(modules)
    monkeypatch.setattr(sys, "path", ["", *(place for place in sys.path if place != str(modules))])
    assert not is_installed("evil_only")
    assert is_installed("gymnasium")
    assert is_installed("ppo.text")


def test_a_foreign_run_imports_only_this_package_and_what_the_user_named(modules):
    with only_trusted("runs/theirs", False, ["mine_only:Name", 3, None]):
        assert import_name("ppo.errors:UsageError", "policy") is UsageError
        assert import_name("mine_only:Name", "reward") == 1
        for name in ("evil_only:Name", "os:system", "pponot:Name", "ppo/x:Name"):
            with pytest.raises(UsageError, match=r"the run runs/theirs, which .* needs the module \S+, .* add --trust"):
                import_name(name, "policy")
    assert (modules / "mine_only").exists()
    assert not (modules / "evil_only").exists()


@pytest.mark.parametrize("how", ["signed", "trust"])
def test_a_signed_run_and_one_whose_author_is_trusted_import_what_they_name(modules, how):
    with trusting(how == "trust"), only_trusted("runs/a run", how == "signed"):
        assert import_name("evil_only:Name", "policy") == 1


def test_trust_covers_the_runs_that_a_run_names_and_a_signature_does_not(modules):
    with trusting(True), only_trusted("outer", False), trusting(False), only_trusted("inner", False):
        assert import_name("evil_only:Name", "policy") == 1
    with (
        only_trusted("outer", True),
        only_trusted("inner", False),
        pytest.raises(UsageError, match="the run inner"),
    ):
        import_name("json:loads", "policy")
    with only_trusted("outer", False):
        with only_trusted("inner", True):
            assert import_name("json:loads", "policy") is json.loads
        with pytest.raises(UsageError, match="the run outer"):
            import_name("json:loads", "policy")
    assert import_name("json:loads", "policy") is json.loads


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("x = 1\nimport no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\nfrom json import nothing", "ImportError: cannot import name 'nothing' from 'json'"),
    ],
)
def test_an_import_that_fails_inside_the_users_module_is_named_with_file_and_line(tmp_path, monkeypatch, source, cause):
    (tmp_path / "needy.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as caught:
        import_name("needy:Name", "policy")
    assert str(caught.value).startswith(
        f"policy = 'needy:Name': the import of needy fails in {tmp_path / 'needy.py'}, line 2: {cause}"
    )


def test_the_running_script_is_not_imported_a_second_time(tmp_path):
    script = tmp_path / "running.py"
    script.write_text(
        "from ppo.machine.imports import import_name\n\nprint('run')\n\nclass Mine: ...\n\n"
        "print(import_name('running:Mine', 'policy') is Mine)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."}
    )
    assert done.stdout.split() == ["run", "True"], done.stderr
    (tmp_path / "inner").mkdir()
    roundabout = f"{tmp_path}/inner/../running.py"
    done = subprocess.run([sys.executable, roundabout], capture_output=True, text=True)
    assert done.stdout.split() == ["run", "True"], done.stderr
