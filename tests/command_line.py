"""Run commands of `ppo` in a test."""

from typing import Any

import pytest

from ppo.cli import main as cli

SIZES = {
    "num-envs": 2,
    "num-steps": 16,
    "num-minibatches": 2,
    "update-epochs": 1,
    "hidden-sizes": 8,
    "eval-episodes": 2,
}
TINY = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
SHORT = [*TINY, "--total-timesteps", "256"]


def refused(capsys: Any, *args: str) -> str:
    """Run a command that must fail with one sentence and exit code 2, and return the sentence."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(args))
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.out + captured.err
    return captured.err.removeprefix("error: ").rstrip("\n")


def ran(capsys: Any, *args: str) -> str:
    """Run a command and return what it prints."""
    cli.main(list(args))
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out
