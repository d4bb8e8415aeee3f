"""Environments of PettingZoo are found by name, in the package and in the current folder."""

import pytest

from ppo import UsageError, make_envs

pytestmark = pytest.mark.usefixtures("stand_ins")
RELAY = "pettingzoo:relay"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"critic": "some"}, "critic = 'some' is unknown; choose own or all"),
        ({"pad": "fale"}, "pad = 'fale' is unknown; choose true or false"),
        ({"pad": True}, "pad needs SuperSuit: pip install supersuit"),
    ],
)
def test_arguments_are_checked(monkeypatch, kwargs, message):
    monkeypatch.setattr("ppo.envs.pettingzoo.is_installed", lambda name: name != "supersuit")
    with pytest.raises(UsageError, match=message):
        make_envs(RELAY, 3, env_kwargs=kwargs)


def test_a_module_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_relay.py").write_text("from pettingzoo.relay import parallel_env\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # as `python -m ppo` has it
    assert make_envs("pettingzoo:my_relay", 3).num_envs == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_relay.py").write_text("from pettingzoo.relay import parallel_env\n")
    assert make_envs("pettingzoo:mine/own_relay", 3).num_envs == 3


def test_a_folder_that_is_no_module_does_not_hide_pettingzoos_own(tmp_path, monkeypatch):
    (tmp_path / "relay").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert make_envs(RELAY, 3).num_envs == 3


def test_a_missing_module_is_named(monkeypatch):
    with pytest.raises(UsageError, match="names no environment; for example pettingzoo:mpe2/simple_spread_v3"):
        make_envs("pettingzoo:", 1)
    with pytest.raises(
        UsageError, match=r"'pettingzoo:absent' .the module absent, or pettingzoo.absent.: there is no module"
    ):
        make_envs("pettingzoo:absent", 1)
    with pytest.raises(
        UsageError, match=r"'pettingzoo:mpe2/nope_v3': mpe2 has no module nope_v3, and pettingzoo no mpe2.nope_v3"
    ):
        make_envs("pettingzoo:mpe2/nope_v3", 1)
    monkeypatch.setattr("ppo.envs.families.is_installed", lambda name: name != "pettingzoo")
    with pytest.raises(
        UsageError, match=r'belongs to PettingZoo, which is not installed: pip install -e ".\[pettingzoo\]"'
    ):
        make_envs("pettingzoo:mpe2/simple_spread_v3", 1)
