"""Files are written whole or not at all; folders have a name that was free."""

import os

import pytest

from ppo.errors import UsageError
from ppo.run.files import new_folder, write_atomically


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "data"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "data"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot write .*data: No space left on device; make room"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    folders = [new_folder(tmp_path / "runs", "env__s1").name for _ in range(3)]
    assert folders == ["env__s1", "env__s1__2", "env__s1__3"]


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match="choose another --runs-dir"):
        new_folder(tmp_path / "runs", "env")
