"""The cache folder: the user's own choice first, then the system's."""

import threading
import time
from pathlib import Path

import pytest

from ppo.errors import UsageError
from ppo.machine.cache import alone, cache_file, cache_folder


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"PPO_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/ppo"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/ppo"),
    ],
)
def test_the_cache_is_ppo_cache_or_a_folder_in_the_users_cache(monkeypatch, variables, folder):
    for name in ("PPO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_a_file_in_the_place_of_the_cache_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache" / "deeper"))
    assert cache_file("a.pt2") == tmp_path / "cache" / "deeper" / "a.pt2"
    assert cache_file("a.pt2").parent.is_dir()
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        monkeypatch.setenv("PPO_CACHE", str(folder))
        with pytest.raises(
            UsageError, match=rf"the cache folder {folder} cannot be used: .*; set PPO_CACHE to another"
        ):
            cache_file("a.pt2")


def test_one_process_at_a_time_makes_a_file_and_the_others_find_it(tmp_path):
    path, order = tmp_path / "deeper" / "code.pt2", []

    def make(name: str, seconds: float) -> None:
        with alone(path):
            order.append((name, path.exists()))
            time.sleep(seconds)
            path.touch()

    first, second = (threading.Thread(target=make, args=[name, 0.2]) for name in ("first", "second"))
    first.start()
    time.sleep(0.05)
    second.start()
    first.join()
    second.join()
    assert order == [("first", False), ("second", True)]


def test_a_cache_that_cannot_be_written_has_no_lock(tmp_path):
    (tmp_path / "file").touch()
    with alone(tmp_path / "file" / "code.pt2"):
        pass
    assert (tmp_path / "file").read_bytes() == b""
