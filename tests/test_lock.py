"""A run has one writer: the second one is told who the first is, and the first one's death frees the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppo.errors import UsageError
from ppo.run.lock import RunLock, holder

HOLD = "import sys, time; from pathlib import Path; from ppo.run.lock import RunLock; RunLock(Path(sys.argv[1])); print(flush=True); time.sleep(60)"


def test_a_second_writer_is_told_who_holds_the_run(tmp_path):
    lock = RunLock(tmp_path)
    with pytest.raises(UsageError, match=rf"is in use by process {os.getpid()} on \S+; wait until that ends"):
        RunLock(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
    RunLock(tmp_path).release()


def test_who_only_looks_learns_the_holder_and_changes_nothing(tmp_path):
    assert holder(tmp_path) == ""
    lock = RunLock(tmp_path)
    assert holder(tmp_path).startswith(f"process {os.getpid()} on ")
    os.close(lock.file)  # as at the death of the process
    assert holder(tmp_path) == ""
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_writer_waits_for_someone_who_only_looks(tmp_path, monkeypatch):
    busy = [BlockingIOError(), BlockingIOError()]

    def lock(file):
        if busy:
            raise busy.pop()

    monkeypatch.setattr("ppo.run.lock._lock_file", lock)
    RunLock(tmp_path).release()
    assert not busy


def test_a_lock_of_a_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch):
    first, locked = RunLock(tmp_path), []

    def lock(file):  # another process releases between our opening and our locking
        if not locked:
            first.release()
        locked.append(file)

    monkeypatch.setattr("ppo.run.lock._lock_file", lock)
    second = RunLock(tmp_path)
    assert len(locked) == 2
    assert os.path.samestat(os.fstat(second.file), (tmp_path / ".lock").stat())
    second.release()


def test_a_link_in_the_place_of_the_lock_is_not_written_through(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="is a link"):
        RunLock(tmp_path)
    assert not (tmp_path / "target").exists()


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def unsupported(file):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("ppo.run.lock._lock_file", unsupported)
    with pytest.warns(UserWarning, match=r"cannot be locked \(Operation not supported\); never train it twice"):
        RunLock(tmp_path).release()


@pytest.mark.slow
def test_a_killed_holder_frees_the_run(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UsageError, match=f"in use by process {holder.pid} on"):
            RunLock(tmp_path)
        holder.kill()
    RunLock(tmp_path).release()
