"""The help of every command: flags, groups and defaults, read at 80 columns."""

import re

import pytest

from ppo import Config
from ppo.cli import main as cli
from ppo.cli.flags import docstrings
from ppo.cli.main import COMMANDS


def help_of(capsys, *command):
    """Return a command's help as lines, without colours."""
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--help"])
    assert caught.value.code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def words(lines):
    return " ".join(" ".join(lines).replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "phrases"),
    [
        ("train", ["--gamma FLOAT", "Discount factor γ. (default: 0.98)", "(default: CartPole-v1)"]),
        ("train Pendulum-v1", ["Discount factor γ. (default: 0.9)", "(default: 200000)"]),
        ("resume", ["--total-timesteps INT New budget. (default: the run's own)", "(required)"]),
        ("eval", ["--episodes INT Number of episodes. (default: 10)", "--video"]),
        ("check", ["--num-envs INT Number of environments stepped together. (default: 4)"]),
        ("envs", ["List the environment families"]),
    ],
)
def test_help_has_every_default(capsys, command, phrases):
    text = words(help_of(capsys, *command.split()))
    assert [phrase for phrase in phrases if phrase not in text] == []


def test_every_setting_has_help_with_its_default(capsys):
    text = words(help_of(capsys, "train"))
    flags = ["--" + name.replace("_", "-") for name in Config().to_json() if name != "env_id"]
    assert [flag for flag in flags if not re.search(rf"{flag}\b.*?\(default: ", text)] == []
    assert text.count("(default: ") == len(flags) + 2  # env_id and --config
    assert all(docstrings(Config).get(name) for name in Config().to_json())


def test_settings_are_in_groups_and_the_first_is_what_people_change_most(capsys):
    titles = [line.strip("╭╮─ ") for line in help_of(capsys, "train")]
    titles = [title for title in titles if re.fullmatch(r"positional arguments|(\w+ )?options", title)]
    roles = ["main", "problem", "update", "network", "sampling", "reference", "run", "machine"]
    assert titles == ["positional arguments", "options", *(f"{role} options" for role in roles)]
    text = words(help_of(capsys, "train"))
    main = text[text.index("main options") : text.index("problem options")]
    assert re.findall(r"--([a-z][a-z-]+) [A-Z{]", main) == [
        "algorithm", "policy", "total-timesteps", "seed", "num-envs", "num-steps", "learning-rate",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(capsys, command)
    boxes = [line for line in lines if line.startswith((" ", "╭", "│", "╰"))]
    assert max(map(len, boxes)) <= 80


def test_the_first_help_lists_every_command(capsys):
    text = words(help_of(capsys))
    assert [name for name in COMMANDS if f"• {name} " not in text] == []
