"""The cache folder: the user's own choice first, then the system's."""

from pathlib import Path

import pytest

from ppo.errors import UsageError
from ppo.machine.cache import cache_file, cache_folder


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
