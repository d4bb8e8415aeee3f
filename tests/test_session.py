"""A session prints the resolved settings, and commands that work as they are printed."""

import contextlib
import io
import shlex

import pytest
from command_line import SIZES
from rich.console import Console

from ppo import Config, Trainer, UsageError
from ppo.cli import main as cli
from ppo.cli import session

SETTINGS = {name.replace("-", "_"): value for name, value in SIZES.items()} | {"hidden_sizes": [8], "compile": "off"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


def lines_of(trainer):
    with contextlib.closing(trainer.envs):
        return dict(session.describe(trainer))


def test_the_description_has_the_sizes_of_the_run():
    lines = lines_of(Trainer(Config().replace(SETTINGS | {"total_timesteps": 256})))
    assert lines["rollout"] == "T 16 x N 2 = 32 steps"
    assert lines["update"] == "1 epoch x 2 minibatches of B 16 x L 1, adam"
    assert lines["environment"].startswith("CartPole-v1: 2 x ")
    assert lines["policy"].startswith("mlp, ")


def test_what_changes_the_environment_is_told():
    own = {"env_kwargs": {"sutton_barto_reward": True}, "max_episode_steps": 9, "clip_rewards": 1.0}
    lines = lines_of(Trainer(Config().replace(SETTINGS | own)))
    assert lines["environment"].startswith("CartPole-v1 sutton_barto_reward=true: 2 x ")
    assert lines["environment"].endswith("episodes of at most 9 steps")
    assert lines["rewards"] == "clipped to ± 1 in training; returns are of the raw ones"


def test_the_precision_and_what_is_left_out_are_told(monkeypatch):
    monkeypatch.setattr("ppo.envs.vector.dropped", lambda envs: ("mission",))
    lines = lines_of(Trainer(Config().replace(SETTINGS)))
    assert lines["precision"] == "float32: without convolutions, bfloat16 saves little"
    assert lines["note"] == "mission of the observation is text, which no policy reads; it is left out"


def test_a_checkpoint_that_truncates_episodes_is_noted():
    short = Trainer(Config().replace(SETTINGS | {"checkpoint_every": 1}))
    assert lines_of(short)["note"] == (
        "a checkpoint every 16 steps truncates episodes, which last up to 500 steps; raise --checkpoint-every"
    )
    assert "note" not in lines_of(Trainer(Config().replace(SETTINGS)))


def test_a_discount_that_looks_beyond_the_time_limit_is_noted():
    trainer = Trainer(Config().replace(SETTINGS | {"max_episode_steps": 16, "gamma": 0.95, "checkpoint_every": 9}))
    assert "truncated after 16:" in lines_of(trainer)["note"]


def test_the_command_to_train_from_a_pretrained_policy_can_be_run(capsys):
    config = Config().replace(
        SETTINGS | {"env_id": "text/Copy-v0", "env_kwargs": {"length": 3}, "total_timesteps": 256}
    )
    output = io.StringIO()
    session.pretrain(Trainer(config), "", "", 5, Console(file=output, soft_wrap=True))
    (line,) = (line for line in output.getvalue().splitlines() if "train from it" in line)
    command = cli.parse(shlex.split(line.split("ppo train ")[1].join(["train ", ""])))
    assert command.settings.env_kwargs == {"length": 3}
    assert command.settings.init_from == command.settings.reference == "runs/text_Copy-v0__ppo__s1"


@pytest.mark.parametrize(
    "learn",
    [
        lambda *args: session.pretrain(*args[:2], "", *args[2:]),
        lambda *args: session.reward(*args[:2], "all", *args[2:]),
    ],
)
def test_a_file_that_does_not_exist_is_refused_before_anything_is_printed_or_written(tmp_path, learn):
    config = Config().replace(SETTINGS | {"env_id": "text/Copy-v0", "runs_dir": str(tmp_path), "total_timesteps": 256})
    output = io.StringIO()
    with pytest.raises(UsageError, match=r"cannot read absent\.jsonl"):
        learn(Trainer(config), "absent.jsonl", 5, Console(file=output))
    assert output.getvalue() == ""
    assert not list(tmp_path.iterdir())


def test_without_an_environment_pretraining_and_reward_models_read_texts_of_their_own():
    assert cli.parse(["pretrain"]).settings.env_id == cli.parse(["reward"]).settings.env_id == "text/Write-v0"
    assert cli.parse(["train"]).settings.env_id == "CartPole-v1"


def test_the_last_lines_have_significant_digits_and_say_that_no_episode_ended():
    settings = SETTINGS | {
        "env_id": "probes:Endless-v0",
        "total_timesteps": 64,
        "eval_episodes": 0,
        "vectorization": "sync",
    }
    output = io.StringIO()
    trainer = Trainer(Config().replace(settings))
    session.train(trainer, "mine", Console(file=output, soft_wrap=True))
    assert "         note  no episode ended in training, so there is no return" in output.getvalue()
    ended = Trainer(
        Config().replace(settings | {"env_id": "probes:Constant-v0", "eval_episodes": 1, "env_kwargs": {"length": 3}})
    )
    output = io.StringIO()
    session.train(ended, "mine", Console(file=output, soft_wrap=True))
    assert "no episode ended" not in output.getvalue()
    assert "   evaluation  return 3 over 1 deterministic episode (best of the run 3)\n" in output.getvalue()


def test_the_limit_of_an_evaluation_is_told_and_not_the_steps_that_were_played():
    settings = SETTINGS | {"env_id": "probes:Endless-v0", "total_timesteps": 64, "vectorization": "sync"}
    output = io.StringIO()
    session.train(
        Trainer(Config().replace(settings | {"eval_max_steps": 40})), "mine", Console(file=output, soft_wrap=True)
    )
    assert ", of which 2 did not end within 40 steps" in output.getvalue()  # play goes on in blocks of 32 steps
