"""Presets reach the scores that the README reports (minutes; `make test-all`)."""

import importlib
import statistics
from pathlib import Path

import pytest

from ppo import Trainer, evaluate, preset

pytestmark = pytest.mark.learning


@pytest.mark.parametrize(
    ("env_id", "settings", "score"),
    [
        ("CartPole-v1", {}, 500.0),
        ("CartPole-v1", {"algorithm": "a2c", "total_timesteps": 500_000}, 475.0),
        ("CartPole-v1", {"algorithm": "reinforce", "total_timesteps": 500_000}, 400.0),
        ("Pendulum-v1", {}, -200.0),
    ],
)
def test_a_preset_reaches_its_score(tmp_path, env_id, settings, score):
    config = preset(env_id, settings.get("algorithm", "ppo"))
    run = Trainer(config.replace(settings | {"runs_dir": str(tmp_path)})).train()
    assert evaluate(run, episodes=100).mean >= score


def test_a_gru_learns_more_when_its_critic_is_told_what_is_hidden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    returns = importlib.import_module("told_critic").main(seeds=(101, 102, 103))
    told, untold = (statistics.fmean(returns[key]) for key in (True, False))
    assert told > untold + 5
