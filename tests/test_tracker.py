"""A tracker receives every row, text and setting of a run, goes on with it after a resume, and never ends the training."""

import json
import sys
import types
import warnings

import pytest

from ppo import Config, Trainer, UsageError
from ppo.run import tracker
from ppo.run.logger import Logger
from ppo.run.tracker import TRACKERS, check_tracker, open_tracker

SIZES = {
    "num_envs": 2, "num_steps": 16, "num_minibatches": 2, "update_epochs": 1, "hidden_sizes": (4,), "eval_episodes": 1,
    "total_timesteps": 96, "checkpoint_every": 1,
}  # fmt: skip


RECORDERS = []


class Recorder:
    """A tracker that writes down what it is told; its key is the next number."""

    def __init__(self, run_dir, settings, key):
        self.key, self.settings, self.resumed = key or str(len(RECORDERS) + 1), settings, bool(key)
        self.rows, self.texts, self.closed = [], [], False
        RECORDERS.append(self)

    def write(self, row, global_step):
        self.rows.append((global_step, row))

    def write_text(self, tag, text, global_step):
        self.texts.append((global_step, tag, text))

    def close(self):
        self.closed = True


@pytest.fixture
def recorders(monkeypatch):
    RECORDERS.clear()
    monkeypatch.setitem(TRACKERS, "wandb", Recorder)
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda name: name)
    return RECORDERS


def test_a_run_is_the_same_at_the_tracker_and_goes_on_after_a_resume(recorders, tmp_path):
    with Trainer(Config(runs_dir=tmp_path, track="wandb", **SIZES)) as trainer:
        for progress in trainer.iterations():
            if progress.iteration == 2:
                trainer.stop()
    with Trainer.resume(trainer.run_dir) as resumed:
        resumed.train()
    first, second = recorders
    assert (first.resumed, second.resumed, first.key, second.key) == (False, True, "1", "1")
    assert first.settings["gamma"] == 0.99
    assert [step for step, _ in first.rows + second.rows] == [32, 63, 94]
    assert first.rows[0][1]["losses/entropy"] == pytest.approx(0.69, abs=0.01)
    assert not any(value != value for _, row in first.rows for value in row.values())
    assert first.closed
    assert second.closed


def test_a_text_reaches_the_tracker(recorders, tmp_path):
    logger = Logger(tmp_path, {"track": "wandb"})
    logger.write_text("samples", ["a <b>", "c"], 7)
    logger.close()
    assert recorders[0].texts == [(7, "samples", "a <b>\nc")]


def test_a_run_that_begins_anew_in_its_folder_has_a_new_key(recorders, tmp_path):
    keys = [open_tracker("wandb", tmp_path, {}, new).key for new in (True, True, False)]
    assert keys == ["1", "2", "2"]
    assert json.loads((tmp_path / "tracker.json").read_text()) == {"wandb": "2"}


@pytest.mark.parametrize("method", ["write", "write_text", "close"])
def test_a_tracker_that_fails_is_warned_of_once_and_the_run_goes_on(recorders, monkeypatch, tmp_path, method):
    def fail(self, *arguments):
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(Recorder, method, fail)
    logger = Logger(tmp_path, {"track": "wandb"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in (1, 2):
            logger.write({"a": 1.0}, i, i)
            logger.write_text("samples", ["x"], i)
        logger.close()
    assert [str(warning.message).partition(" and gets")[0] for warning in caught] == [
        "the tracker fails (ConnectionError: no network at all)"
    ]
    assert (tmp_path / "progress.csv").read_text().count("\n") == 3


def test_a_tracker_without_its_package_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="track = 'mlflow' needs a package that is not installed; pip install mlflow"):
        Trainer(Config(runs_dir=tmp_path / "runs", track="mlflow", **SIZES))
    assert not (tmp_path / "runs").exists()
    check_tracker("none")


def test_a_tracker_that_refuses_is_one_sentence_and_leaves_the_folder_free(recorders, monkeypatch, tmp_path):
    def refuse(run_dir, settings, key):
        raise PermissionError("log in first\nsee the manual")

    monkeypatch.setitem(TRACKERS, "wandb", refuse)
    with pytest.raises(UsageError, match=r"^wandb does not open a run: PermissionError: log in first[^\n]*--track$"):
        Logger(tmp_path, {"track": "wandb"})
    Logger(tmp_path, {}).close()  # the lock is free


def train_and_resume(folder, name):
    """Train two iterations, resume for a third, and return the run's key at its tracker."""
    with warnings.catch_warnings(action="ignore"):  # the packages' own
        with Trainer(Config(runs_dir=folder, track=name, **SIZES | {"total_timesteps": 64})) as trainer:
            trainer.train()
        with Trainer.resume(trainer.run_dir, {"total_timesteps": 96}) as resumed:
            resumed.train()
    return json.loads((trainer.run_dir / "tracker.json").read_text())[name]


def test_mlflow_has_the_run(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    key = train_and_resume(tmp_path, "mlflow")
    run = MlflowClient().get_run(key)
    assert run.data.params["gamma"] == "0.99"
    assert run.info.status == "FINISHED"
    assert [metric.step for metric in MlflowClient().get_metric_history(key, "losses/entropy")] == [32, 63, 94]


def test_trackio_has_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    key = train_and_resume(tmp_path, "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    assert [row["step"] for row in SQLiteStorage.get_logs("ppo", key)] == [32, 63, 94]


def test_wandb_has_the_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    key = train_and_resume(tmp_path, "wandb")
    files = sorted(tmp_path.glob(f"*/wandb/offline-run-*/run-{key}.wandb"))
    assert len(files) == 2
    assert all(file.stat().st_size > 1000 for file in files)
