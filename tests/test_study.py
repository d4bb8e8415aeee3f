"""The study: trials, interruptions, and what ends up in the database."""

import statistics

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

from ppo.config import Config
from ppo.config.presets import preset
from ppo.errors import NonFiniteError, UsageError
from ppo.tuning.space import Choice, Range
from ppo.tuning.study import Study

BASE = Config().replace({"env_id": "CartPole-v1"})
SPACE = {"gamma": Range(0.9, 0.999, False, 0.99), "update_epochs": Choice((1, 4), 4)}


class Fake(Study):
    """A study whose runs are not trained: the score is known, and what happened is noted."""

    def train(self, config, name, seed, report=lambda *_: None):
        event = EVENTS.pop(0) if EVENTS else None
        CALLS.append((name, seed, config.gamma, config.update_epochs))
        if event is not None:
            raise event
        score = 10 * config.gamma + (config.update_epochs == 4) + seed
        for tenth in range(1, 11):
            report(seed, tenth / 10, score * tenth / 10)
        return score


CALLS, EVENTS = [], []


@pytest.fixture
def study(tmp_path):
    CALLS.clear()
    EVENTS.clear()
    return Fake(BASE, SPACE, "eval/episodic_return", (101, 102), tmp_path / "mine", f"sqlite:///{tmp_path}/study.db")


def test_the_first_trial_has_the_base_settings_and_a_score_is_the_mean_over_the_seeds(study):
    lines = []
    opened = study.open()
    study.run(opened, 3, 0, lines.append)
    assert CALLS[:2] == [("trial0", 101, 0.99, 4), ("trial0", 102, 0.99, 4)]
    assert opened.trials[0].value == pytest.approx(9.9 + 1 + 101.5)
    assert [line.partition(";")[0] for line in lines[:1]] == ["trial 0: 112.4"]
    assert lines[0].endswith("gamma 0.99, update_epochs 4")
    assert len(opened.trials) == 3
    for trial in opened.trials:  # reported at the end of each run
        assert statistics.fmean(trial.intermediate_values[step] for step in (10, 20)) == pytest.approx(trial.value)


def test_an_interrupted_trial_is_the_next_one_in_the_same_folders(study):
    EVENTS[:] = [None, None, None, KeyboardInterrupt()]  # in the second run of the second trial
    with pytest.raises(KeyboardInterrupt):
        study.run(study.open(), 3, 0, lambda line: None)
    again = study.open()
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
    CALLS.clear()
    study.run(again, 3, 0, lambda line: None)
    assert [(name, seed) for name, seed, *_ in CALLS[:2]] == [("trial1", 101), ("trial1", 102)]
    assert again.trials[2].params == again.trials[1].params
    assert [trial.state for trial in again.trials].count(TrialState.COMPLETE) == 3
    CALLS.clear()
    study.run(study.open(), 3, 0, lambda line: None)  # it has its trials
    assert CALLS == []


def test_two_processes_draw_different_settings(study, monkeypatch):
    seeds, sampler = [], optuna.samplers.TPESampler
    monkeypatch.setattr(
        optuna.samplers, "TPESampler", lambda seed=None, **more: seeds.append(seed) or sampler(seed=seed, **more)
    )
    study.open()
    study.open()
    assert seeds == [None, BASE.seed, None]  # the process that creates the study draws by its seed


def test_a_process_waits_for_a_trial_of_another_one_which_then_concludes(study, monkeypatch):
    first = study.open()
    with pytest.warns(UserWarning, match="Heartbeat"):  # as the trial of another process, without its thread
        elsewhere = first.ask()
    waited = []

    def wait(seconds):
        waited.append(seconds)
        first.tell(elsewhere, 5.0)

    monkeypatch.setattr("time.sleep", wait)
    assert not study.run(study.open(), 2, 0, lambda line: None)
    assert len(waited) == 1
    assert [trial.state for trial in first.trials] == [TrialState.COMPLETE] * 2  # two and no more
    assert study.run(study.open(), 2, 0, lambda line: None)  # all have ended: whoever asks concludes
    assert study.run(study.open(), 3, 0, lambda line: None)


def test_out_of_time_no_trial_begins(study):
    opened = study.open()
    study.run(opened, 3, 1e-12, lambda line: None)
    assert [trial.state for trial in opened.trials] == [TrialState.WAITING]


def test_a_database_that_another_process_creates_at_the_same_time_is_opened_again(study, monkeypatch):
    monkeypatch.setattr("ppo.tuning.study.PAUSES", (0.0,))
    create, errors = optuna.create_study, [IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))]
    monkeypatch.setattr(optuna, "create_study", lambda **more: create(**more) if not errors else raise_(errors.pop()))
    assert study.open().study_name == "mine"
    errors += [IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))] * 2
    with pytest.raises(UsageError, match="cannot open the database"):
        study.open()


def raise_(error):
    raise error


def test_settings_that_cannot_be_trained_cost_only_their_trial(study):
    EVENTS[:] = [UsageError("9 does not divide"), NonFiniteError("the loss is NaN")]
    lines = []
    opened = study.open()
    study.run(opened, 3, 0, lines.append)
    assert [trial.state for trial in opened.trials[:3]] == [TrialState.PRUNED, TrialState.PRUNED, TrialState.COMPLETE]
    assert lines[0].startswith("trial 0: not trained: 9 does not divide; gamma")


def test_a_study_goes_on_only_with_what_it_began_with(study):
    study.open()
    other = Fake(BASE.replace({"total_timesteps": 77}), *list(vars(study).values())[1:])
    with pytest.raises(UsageError, match=r"the study mine has total_timesteps = \d+, not 77; .*--name"):
        other.open()
    other = Fake(BASE, {"gamma": SPACE["gamma"]}, *list(vars(study).values())[2:])
    with pytest.raises(UsageError, match=r"the study mine has another search space .it differs in update_epochs.; "):
        other.open()
    with pytest.raises(UsageError, match="cannot open the database nothing://here"):
        Fake(*list(vars(study).values())[:5], "nothing://here").open()


def test_a_run_goes_on_from_its_checkpoint_also_in_a_folder_with_a_number(tmp_path):
    small = {"num_envs": 2, "num_steps": 8, "total_timesteps": 32, "eval_episodes": 1, "compile": "off"}
    tuned = Study(preset("CartPole-v1").replace(small), {}, "eval/episodic_return", (101,), tmp_path, "sqlite://")
    (tmp_path / "CartPole-v1__trial0__s101").mkdir()  # killed before its first checkpoint
    score = tuned.train(tuned.base, "trial0", 101)
    assert tuned.train(tuned.base, "trial0", 101) == score
    assert len(list(tmp_path.iterdir())) == 2
