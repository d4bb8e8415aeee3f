"""The help of every command: flags, groups and defaults, read at 80 columns."""

import re

import pytest
from command_line import refused

from ppo import Config
from ppo.cli import main as cli
from ppo.cli.flags import docstrings
from ppo.cli.main import COMMANDS
from ppo.config.setting import changeable


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
        ("train", ["--gamma FLOAT|SCHEDULE", "or half of a time limit. (default: 0.98)", "(default: CartPole-v1)"]),
        ("train Pendulum-v1", ["or half of a time limit. (default: 0.9)", "(default: 200000)"]),
        ("resume", ["Never exceeded. (default: the run's own)", "--anneal-lr, --no-anneal-lr", "(required)"]),
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
    assert text.count("(default: ") == len(flags) + 5  # env_id, --config, --processes, --max-restarts and --trust
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


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, help_of(capsys, *command.split()))) <= 80


def test_without_a_command_the_help_lists_every_command_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(capsys)
    assert lines[0] == "usage: ppo [-h] COMMAND"
    assert "  ppo train CartPole-v1               train a policy; takes seconds" in lines
    first = next(n for n, line in enumerate(lines) if "• train " in line)
    assert [line.split()[2] for line in lines[first:-1]] == list(COMMANDS)
    with pytest.raises(SystemExit):
        cli.main([])
    assert "usage: ppo [-h] COMMAND" in capsys.readouterr().out


def test_the_help_of_resume_has_the_settings_that_are_not_fixed(capsys):
    text = words(help_of(capsys, "resume"))
    flags = {
        "--" + name.replace("_", "-"): name in changeable(Config) for name in Config().to_json() if name != "env_id"
    }
    assert {flag: re.search(rf"{flag}\b(?!-)", text) is not None for flag in flags} == flags
    assert text.count("(default: the run's own)") == sum(flags.values())


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("train --gama 0.9", "unrecognized options: --gama, 0.9; did you mean --gamma?"),
        ("train --num-envs four", "error parsing --num-envs: 'four' is not a whole number; see `ppo train --help`"),
        ("train --gamma high", "error parsing --gamma: 'high' is not a number; for a schedule write START -> VALUE"),
        ("train --num-envs", "missing value for argument '--num-envs'. Expected 1 values; see `ppo train --help`"),
        (
            "train --env-kwargs a 007",
            "error parsing --env-kwargs: 007 is not a value that JSON or TOML reads; for a text write",
        ),
        ("train A-v1 B-v1", "unrecognized options: B-v1; see `ppo train --help`"),
        ("compare --centre x", "invalid choice 'x' for argument '--centre'. Expected one of ('iqm', 'mean'); see"),
        ("eval", "RUN is missing; see `ppo eval --help`"),
        ("resume X --seed 3", "seed is fixed when a run begins; to change it, start a new run with `ppo train`"),
        ("resume X --hidden-sizes=8", "hidden_sizes is fixed when a run begins"),
        ("trian", "there is no command 'trian'; did you mean train?"),
        ("fly", "there is no command 'fly'; the commands are train, eval, resume, "),
    ],
)
def test_wrong_arguments_are_one_sentence(capsys, args, sentence):
    assert refused(capsys, *args.split()).startswith(sentence)


def test_a_whole_number_may_have_an_exponent():
    assert cli.parse(["train", "--total-timesteps", "1e6"]).settings.total_timesteps == 1_000_000
    assert cli.parse(["train", "--total-timesteps", "1_000_000"]).settings.total_timesteps == 1_000_000
    assert cli.parse(["train", "--threads", "2"]).settings.threads == 2
    assert cli.parse(["train", "--hidden-sizes", "8", "1e1"]).settings.hidden_sizes == (8, 10)


def test_arguments_of_the_environment_are_values_of_json_and_toml():
    words = ["--env-kwargs", "a", "false", "b=1", "c", "'007'", "d=null"]
    assert cli.parse(["train", *words]).settings.env_kwargs == {"a": False, "b": 1, "c": "007", "d": None}
