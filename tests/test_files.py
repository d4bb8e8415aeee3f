"""Files are written whole or not at all; folders have a name that was free."""

import os
from pathlib import Path

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from ppo import Config, Trainer
from ppo.errors import UsageError
from ppo.run.files import cannot_write, new_folder, open_to_append, shown, write_atomically


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
    folders = [new_folder(tmp_path / "runs", "env__s1", {}).name for _ in range(3)]
    assert folders == ["env__s1", "env__s1__2", "env__s1__3"]


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match="choose another --runs-dir"):
        new_folder(tmp_path / "runs", "env", {})


def test_an_interrupt_while_writing_leaves_nothing_beside_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "data"
    write_atomically(path, b"old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_a_disk_that_refuses_even_to_remove_is_one_sentence(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(30, "Read-only file system")

    for name in ("open", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(UsageError, match=r"cannot write .*data: Read-only file system; choose another place"):
        write_atomically(tmp_path / "data", b"new")


def test_neither_a_link_nor_its_temporary_name_is_written_through(tmp_path):
    (tmp_path / "target").write_bytes(b"precious")
    for name in ("data", f".data.{os.getpid()}"):
        (tmp_path / name).symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "data", b"new")
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert (tmp_path / "data").read_bytes() == b"new"
    assert not (tmp_path / "data").is_symlink()
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        open_to_append(tmp_path / "log")


def test_too_few_file_handles_have_their_own_remedy():
    assert "raise the limit of open files (ulimit -n)" in str(
        cannot_write(Path("x"), OSError(24, "Too many open files"))
    )


def test_a_folder_whose_name_is_not_utf_8_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="is not UTF-8; rename the folder or choose another one"):
        new_folder(tmp_path / "\udcff", "env", {})
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_shown_from_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "runs" / "a") == Path("runs/a")
    assert shown(Path("/elsewhere")) == Path("/elsewhere")


class Wandering(gymnasium.Env):
    """An environment that changes the current folder whenever it can."""

    observation_space = action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, folder):
        self.folder = folder
        os.chdir(folder)

    def reset(self, *, seed=None, options=None):
        os.chdir(self.folder)
        return 0, {}

    def step(self, action):
        os.chdir(self.folder)
        return 0, 1.0, True, False, {}


def test_a_run_stays_where_it_began_if_the_environment_changes_the_folder(tmp_path, monkeypatch):
    (tmp_path / "away").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setitem(
        gymnasium.registry, "Wandering-v0", EnvSpec("Wandering-v0", Wandering, disable_env_checker=True)
    )
    settings = {
        "env_id": "Wandering-v0", "env_kwargs": {"folder": str(tmp_path / "away")}, "num_envs": 1, "num_steps": 8,
        "num_minibatches": 1, "total_timesteps": 16, "eval_episodes": 0, "compile": "off", "vectorization": "sync",
    }  # fmt: skip
    run = Trainer(Config().replace(settings)).train()
    assert Path.cwd() == tmp_path / "away"
    assert list(Path.cwd().iterdir()) == []
    assert run == tmp_path / "here" / "runs" / "Wandering-v0__ppo__s1"
    monkeypatch.chdir(tmp_path / "here")
    assert Trainer.resume("runs/Wandering-v0__ppo__s1", {"total_timesteps": 32}).train() == run
    monkeypatch.chdir(tmp_path / "here")
    start = {"init_from": "runs/Wandering-v0__ppo__s1", "reference": "runs/Wandering-v0__ppo__s1"}
    assert Trainer(Config().replace(settings | start)).train().parent == tmp_path / "here" / "runs"
