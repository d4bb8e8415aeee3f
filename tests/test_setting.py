"""A setting is one field: its annotation and metadata reach the flags, the help, TOML, the checks and the lists."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import pytest

from ppo import Config, UsageError
from ppo.cli import main as cli
from ppo.config.setting import ROLES, Range, check_whole, names, setting


@dataclass(frozen=True)
class Wider(Config):
    """The settings, and one more."""

    tempo: int | Literal["auto"] = setting(3, "network", low=1, high=9)
    """Beats of the metronome, as a made-up setting
    with help on two lines."""


def test_a_field_is_a_flag():
    assert cli._parse(["train", "--tempo", "4"], Wider()).settings.tempo == 4
    assert cli._parse(["train", "--tempo", "auto"], Wider()).settings.tempo == "auto"
    assert cli._parse(["train"], Wider(tempo=7)).settings == Wider(tempo=7)


def test_a_field_has_help_in_the_group_of_its_role(capsys):
    with pytest.raises(SystemExit):
        cli._parse(["train", "--help"], Wider())
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    network = text[text.index("network options") : text.index("sampling options")]
    help_text = "Beats of the metronome, as a made-up setting with help on two lines. (default: 3)"
    assert f"--tempo INT|{{auto}} {help_text}" in network


def test_a_field_is_a_key_of_its_type():
    assert Wider().replace({"tempo": 5}).tempo == 5
    assert Wider().replace({"tempo": "auto"}).to_json()["tempo"] == "auto"
    with pytest.raises(UsageError, match=r'tempo = 1\.5 in settings is not a whole number or "auto"'):
        Wider().replace({"tempo": 1.5})


def test_a_field_is_checked_against_its_range():
    Wider(tempo=9).validate()
    Wider(tempo="auto").validate()
    with pytest.raises(UsageError, match="tempo = 10 is out of range; choose a number from 1 to 9"):
        Wider(tempo=10).validate()


def test_a_field_is_in_the_lists_of_its_role():
    assert "tempo" in names(Wider, "problem", "network")
    assert "tempo" not in names(Wider, "run", "machine")
    assert Wider(tempo=6).policy_options()["tempo"] == 6


def test_every_setting_has_one_of_the_roles_and_every_role_a_setting():
    assert {f.metadata["role"] for f in dataclasses.fields(Config)} == set(ROLES)


def test_the_architecture_is_what_weights_depend_on():
    assert set(names(Config, "network")) == {
        "policy", "hidden_sizes", "activation", "state_size", "num_layers", "context", "separate_critic",
        "feedforward_critic",
        "normalize_obs", "action_bound", "convolutions",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (Range(), [-3e38, 2**63 - 1], [math.nan, math.inf, -math.inf, 1e39, 2**63, 10**400], "a finite number"),
        (Range(low=1), [1, 3e38], [0, math.nan, math.inf, 1e39, 10**400], "at least 1"),
        (Range(low=-10, high=2), [-10, 2.0], [2.1, math.nan], "a number from -10 to 2"),
        (Range(positive=True), [1e-37], [0, -1, math.inf, math.nan, 1e-39], "a positive number"),
        (Range(positive=True, high=1), [1], [0, 1.1], "a positive number, at most 1"),
    ],
)
def test_a_range_has_its_ends_and_no_number_beyond_float32_or_int64(allowed, inside, outside, words):
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)
    assert str(allowed) == words


@pytest.mark.parametrize("value", [2.5, "3", None, True])
def test_a_number_that_is_not_whole_is_named(value):
    check_whole("episodes", 1, 1)
    with pytest.raises(UsageError, match=f"^episodes = {value!r} is not a whole number$"):
        check_whole("episodes", value, 1)
    with pytest.raises(UsageError, match=r"^episodes = 0 is too small; choose at least 1$"):
        check_whole("episodes", 0, 1)
