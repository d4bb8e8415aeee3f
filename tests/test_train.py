"""The commands that make a run: their names, their settings, and what a resumed run may change."""

from pathlib import Path

import pytest
from command_line import TINY, refused

from ppo import Trainer
from ppo.cli import main as cli
from ppo.cli import session


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("command", "name"), [("pretrain", "pretrain"), ("reward", "reward")])
@pytest.mark.parametrize(("flags", "chosen"), [([], ""), (["--exp-name", "mine"], "mine")])
def test_a_supervised_run_is_named_after_its_command_unless_it_has_a_name(monkeypatch, command, name, flags, chosen):
    configs = []
    monkeypatch.setattr(session, command, lambda trainer, *options: configs.append(trainer.config))
    cli.main([command, "text/RandomWalks-v0", *TINY, *flags])
    assert configs[0].exp_name == (chosen or name)


def test_resuming_changes_only_the_settings_that_are_flags(monkeypatch):
    changes = []

    def resume(run_dir, settings):
        changes.append((run_dir, settings))
        raise InterruptedError

    monkeypatch.setattr(Trainer, "resume", resume)
    for flags in ([], ["--total-timesteps", "9"], ["--reference", "moved"]):
        with pytest.raises(InterruptedError):
            cli.main(["resume", "RUN", *flags])
    assert changes == [(Path("RUN"), part) for part in ({}, {"total_timesteps": 9}, {"reference": "moved"})]


def test_a_finished_run_is_resumed_only_with_a_larger_budget(capsys):
    cli.main(["train", *TINY, "--total-timesteps", "64", "--eval-episodes", "0"])
    capsys.readouterr()
    sentence = refused(capsys, "resume", "runs/CartPole-v1__ppo__s1")
    assert sentence.endswith("could exceed its budget of 64 steps; raise --total-timesteps")
