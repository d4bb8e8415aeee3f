"""What a study found: the best trial, its settings as TOML, and the comparison on fresh seeds."""

import tomllib

import numpy as np
import pytest

from ppo.config import Config
from ppo.config.presets import preset
from ppo.tuning.outcome import best_trial, changes, conclude, spread, to_toml, trial_lines, write
from ppo.tuning.space import Range
from ppo.tuning.study import Study


class Line(Study):
    """A study in which a run's score is 100 γ, plus luck that depends on the seed alone."""

    def train(self, config, name, seed, report=lambda *_: None):
        return 100 * config.gamma + np.random.default_rng(seed).normal()


@pytest.fixture
def study(tmp_path):
    (tmp_path / "line").mkdir()
    base = preset("CartPole-v1").replace({"total_timesteps": 1000, "gamma": 0.9})
    return Line(
        base,
        {"gamma": Range(0.8, 0.999, False, 0.9)},
        "eval/episodic_return",
        (101,),
        tmp_path / "line",
        f"sqlite:///{tmp_path}/s.db",
    )


def test_the_best_settings_are_written_and_compared_on_fresh_seeds(study):
    opened = study.open()
    assert best_trial(opened) is None
    write(study, opened)
    assert not (study.folder / "best.toml").exists()
    study.run(opened, 8, 0, lambda line: None)
    best = best_trial(opened)
    assert best.value == max(trial.value for trial in opened.trials if trial.value is not None)
    write(study, opened)
    assert tomllib.loads((study.folder / "best.toml").read_text()) == {
        "total_timesteps": 1000,
        "gamma": best.params["gamma"],
    }
    assert (study.folder / "report.html").read_text(encoding="utf-8").count("Plotly.newPlot") == 2
    lines = dict(conclude(study, opened, range(1, 6)))
    gain = 100 * (best.params["gamma"] - 0.9)
    assert lines["fresh seeds"] == "1 to 5"
    assert lines["conclusion"].startswith(("better", "not distinguishable"))
    assert f"the difference is {gain:.1f}"[:-1] in lines["conclusion"]


def test_an_interrupted_first_trial_is_still_the_one_without_tuning(study, monkeypatch):
    opened, train = study.open(), Line.train
    monkeypatch.setattr(Line, "train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        study.run(opened, 1, 0, lambda line: None)
    monkeypatch.setattr(Line, "train", train)
    study.run(opened, 1, 0, lambda line: None)
    best = best_trial(opened)
    assert (best.number, best.params) == (1, {"gamma": 0.9})
    assert dict(trial_lines(study, opened))["first"].endswith("without tuning")
    assert conclude(study, opened, [1]) == [("conclusion", "no trial beat the settings without tuning")]


def test_settings_survive_toml():
    values = {
        "gamma": 0.99,
        "hidden_sizes": [64, 64],
        "env_kwargs": {"a b": [1, "x"], "c": True},
        "policy": "mlp",
        "learning_rate": "0.0003 -> 0",
    }
    assert tomllib.loads(to_toml(values)) == values


def test_only_changes_from_the_preset_are_kept():
    config = preset("CartPole-v1").replace({"seed": 9, "exp_name": "x", "gamma": 0.5})
    assert changes(config) == {"gamma": 0.5}
    assert Config().seed != 9


def test_a_spread_has_no_deviation_with_one_seed():
    assert spread(np.array([2.0])) == "2 (2)"
    assert spread(np.array([1.0, 3.0])) == "2 ± 1.414 (1, 3)"
