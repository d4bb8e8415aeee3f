"""`ppo tune` in small: trials, files, the comparison on fresh seeds, and bad input."""

import tomllib

import pytest

from ppo.cli import main as command_line

SMALL = "--total-timesteps 512 --num-envs 2 --num-steps 64 --eval-episodes 1 --compile off"


def test_a_search_ends_with_settings_that_train_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.toml").write_text("gamma = {low = 0.9, high = 0.999}\nnum_minibatches = [1, 4, 3]\n")
    tune = f"tune CartPole-v1 {SMALL} --trials 6 --trial-seeds 1 --space space.toml"
    command_line.main(f"{tune} --fresh-seeds 2".split())
    shown = capsys.readouterr().out
    assert "gamma, num_minibatches vary" in shown
    assert "trial 0:" in shown
    assert "fresh seeds  1 to 2" in shown or "no trial beat the settings without tuning" in shown
    folder = tmp_path / "runs/tune/CartPole-v1"
    best = tomllib.loads((folder / "best.toml").read_text())
    assert best["total_timesteps"] == 512
    assert "<div" in (folder / "report.html").read_text(encoding="utf-8")
    command_line.main(["train", "CartPole-v1", "--config", str(folder / "best.toml")])
    command_line.main(f"{tune} --fresh-seeds 0".split())  # nothing is left to do
    assert "trial 1:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--metric eval/retrun", "this run does not log 'eval/retrun'"),
        ("--trials 0", "trials = 0 is too small; choose at least 1"),
        ("--space absent.toml", "cannot read settings from absent.toml"),
        ("--num-minibatches 7", "does not divide"),
        ("--name ../out", "name = '../out' is the name of a folder; leave out slashes and colons"),
        (
            "--eval-episodes 0",
            "metric = eval/episodic_return needs evaluations, but eval_episodes = 0; raise it, or choose",
        ),
    ],
)
def test_bad_input_is_one_sentence_before_any_trial(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        command_line.main(f"tune CartPole-v1 {SMALL} {flags}".split())
    assert error.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))
