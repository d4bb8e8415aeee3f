"""A user's own code is imported by name, and a name that does not exist is one sentence."""

import json
from collections import OrderedDict

import pytest

from ppo.errors import UsageError
from ppo.machine.imports import import_name, import_user_module


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
