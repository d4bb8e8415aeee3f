"""The commands that make a run: their names, their settings, and what a resumed run may change."""

from pathlib import Path

import pytest
from command_line import TINY, ran, refused

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


RUN = "runs/CartPole-v1__ppo__s1"


@pytest.fixture
def run(capsys):
    """Train 64 steps, in two rollouts of 32."""
    words = "--total-timesteps 64 --eval-episodes 0 --compile off --vectorization sync --env-kwargs max_episode_steps=9"
    cli.main(["train", *TINY, *words.split()])
    capsys.readouterr()


def test_resuming_changes_only_the_settings_whose_flags_have_another_value(run, monkeypatch):
    changes = []

    def resume(run_dir, settings):
        changes.append((run_dir, settings))
        raise InterruptedError

    monkeypatch.setattr(Trainer, "resume", resume)
    cases = {
        "": {},
        "--total-timesteps 9": {"total_timesteps": 9},
        "--reference moved": {"reference": "moved"},
        "--gamma 0.5 --no-anneal-lr --num-envs 2": {"gamma": 0.5, "anneal_lr": False},  # the run has two already
        "--env-kwargs sutton_barto_reward true": {"env_kwargs": {"sutton_barto_reward": True}},
        "--env-kwargs max_episode_steps null": {"env_kwargs": {"max_episode_steps": None}},
    }
    for flags in cases:
        with pytest.raises(InterruptedError):
            cli.main(["resume", RUN, *flags.split()])
    assert changes == [(Path(RUN), settings) for settings in cases.values()]


def test_a_resumed_run_tells_what_changes_and_trains_with_it(run, capsys):
    out = ran(
        capsys,
        "resume",
        RUN,
        *["--total-timesteps", "1e2", "--learning-rate", "1e-3", "--num-envs", "1", "--no-anneal-lr"],
    )
    told = "num_envs 1 instead of 2; learning_rate 0.001 instead of 0.005; anneal_lr False instead of True"
    assert f"resumed at step 64; total_timesteps 100 instead of 64; {told}\n" in out
    assert "T 16 x N 1 = 16 steps" in out
    rows = [row.split(",") for row in (Path(RUN) / "progress.csv").read_text().splitlines()]
    rate = rows[0].index("charts/learning_rate")
    assert [float(row[rate]) for row in rows[1:]] == [0.005, 0.0025, 0.001, 0.001]


def test_a_budget_without_room_for_a_rollout_is_one_sentence(run, capsys):
    for words, budget in ([], 64), (["--total-timesteps", "32"], 32), (["--total-timesteps", "95"], 95):
        assert refused(capsys, "resume", RUN, *words) == (
            f"{RUN} is at step 64, so total_timesteps = {budget} has no room for another rollout of 32 steps; choose "
            "--total-timesteps 96 or more"
        )
