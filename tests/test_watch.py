"""Watching a run: its panel, how it ended, and nothing written."""

import json

import pytest
from command_line import ran, refused
from fake_runs import write_run

from ppo.cli import watch
from ppo.cli.watch import Watched
from ppo.errors import UsageError
from ppo.run.lock import RunLock
from ppo.run.metadata import Metadata


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", total_timesteps=1_000_000, num_envs=1)


def ends(monkeypatch, **meta):
    monkeypatch.setattr(watch, "checkpoint_path", lambda *args: None)
    monkeypatch.setattr(
        watch, "read_checkpoint", lambda path: ({}, Metadata({"config": {"stop_at": ""}} | meta, "file"))
    )


def test_one_picture_of_a_run_that_goes_on(run, capsys):
    lock = RunLock(run)
    before = {path: path.stat().st_mtime_ns for path in [run, *run.iterdir()]}
    out = ran(capsys, "watch", str(run), "--once").splitlines()
    assert out[0].split()[-2:] == ["100%", "1,000,000/1,000,000"]
    assert out[2].split()[-3:] == ["5,000", "evaluation", "5,100"]
    assert {path: path.stat().st_mtime_ns for path in [run, *run.iterdir()]} == before
    lock.release()


@pytest.mark.parametrize(
    ("finished", "sentence"),
    [
        (True, "the run is finished, at step 640"),
        ("x is 9 (stop at >= 8)", "the run is finished, at step 640, since x is 9 (stop at >= 8)"),
        (False, "the run has stopped; its checkpoint is at step 640; continue with: ppo resume "),
    ],
)
def test_a_run_that_has_ended_is_watched_to_its_end(run, capsys, monkeypatch, finished, sentence):
    ends(monkeypatch, finished=bool(finished), reached=finished if isinstance(finished, str) else "", global_step=640)
    out = ran(capsys, "watch", str(run)).splitlines()
    assert len(out) == 11  # an evaluation at every tenth
    assert out[-1].startswith(sentence)


def test_rows_come_as_they_are_written_and_a_resumed_run_begins_anew(run, monkeypatch):
    ends(monkeypatch, finished=False, global_step=640)
    table, lock = run / "progress.csv", RunLock(run)
    text = table.read_text().splitlines(keepends=True)
    table.unlink()
    watched = Watched(run)
    assert watched.look() == ""
    assert watched.reporter.status == "waiting for the first row"
    table.write_text("".join(text[:3]))
    watched.look()
    assert watched.reporter.history.step == 20_000
    with table.open("a") as file:
        file.write(text[3])
    watched.look()
    assert watched.reporter.history.step == 30_000
    (run / "new").write_text("".join(text[:2]))
    (run / "new").replace(table)
    watched.look(), watched.look()
    assert watched.reporter.history.step == 10_000
    lock.release()
    assert watched.look().startswith("the run has stopped")


def test_a_process_that_is_gone_before_its_first_checkpoint_is_told(run, monkeypatch):
    assert Watched(run).ended() == ""  # it may be about to begin
    now = watch.time.time()
    monkeypatch.setattr(watch.time, "time", lambda: now + 100)
    assert Watched(run).ended() == "the run has ended before its first checkpoint; train it again"


@pytest.mark.parametrize(
    ("config", "sentence"), [(None, "is not a run folder"), ("{", "cannot read"), ("null", "cannot read")]
)
def test_what_is_not_a_run_is_one_sentence(tmp_path, capsys, config, sentence):
    if config:
        (tmp_path / "config.json").write_text(config)
    assert sentence in refused(capsys, "watch", str(tmp_path))


def test_settings_of_another_version_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"gama": 1}))
    with pytest.raises(UsageError, match="unknown key gama"):
        Watched(tmp_path)
