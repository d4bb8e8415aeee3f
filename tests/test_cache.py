"""The cache folder: the user's own choice first, then the system's."""

from pathlib import Path

import pytest

from ppo.machine.cache import cache_folder


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
