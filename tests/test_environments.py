"""The commands on environments: check one, list the families."""

import re
from pathlib import Path

import pytest
from command_line import ran, refused


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder; the command line adds it to sys.path, which is restored afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of Box2D's bindings
def test_the_families_are_listed_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = ran(capsys, "envs").splitlines()
    assert lines[:3] == [
        "Classic control", "  preset ppo + CartPole: mlp policy, 100,000 steps", "    CartPole-v0, CartPole-v1",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert all("pip install" in line for line in lines if "not installed" in line)


def test_a_check_says_what_would_be_trained(capsys):
    out = ran(capsys, "check", "CartPole-v1", "--steps", "100")
    assert re.search(r"determinism  the same seed gives the same episodes", out)
    assert re.search(r"would train  mlp policy, preset ppo \+ CartPole: 8 environments x 16 steps", out)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("check CartPole-v1 --num-envs 0", "num_envs = 0 is too small"),
        ("check CartPole-v1 --steps 0", "steps = 0 is too small"),
        (
            "check CartPole-v1 --num-envs 1e9",
            "num_envs * num_steps = 1000000000000 is too large: the run needs at least",
        ),
        ("check Absent-v0", "env_id = 'Absent-v0' is unknown"),
        ("check probes:Wordy-v0", "observation space at 'words.0' is Text"),
        ("check probes:Faulty-v0", "returns numbers that cannot be trained on: the reward of environment"),
    ],
)
def test_checking_what_cannot_be_checked_is_one_sentence(capsys, args, sentence):
    assert sentence in refused(capsys, *args.split())
