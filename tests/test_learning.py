"""Presets reach the scores that the README reports (minutes; `make test-all`)."""

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
    config = preset(env_id, settings.get("algorithm", "ppo"))[1]
    run = Trainer(config.replace(settings | {"runs_dir": str(tmp_path)})).train()
    assert evaluate(run, episodes=100).mean >= score
