"""The suite trains missing runs, resumes interrupted ones, and writes curves that `ppo compare` reads."""

import json
import os
import signal
import time
from dataclasses import replace
from functools import partial

import pytest

from benchmarks import runs, suite
from benchmarks.runs import fill, finish, newest_run
from benchmarks.suites import SUITES, Task
from ppo import Trainer, preset
from ppo.cli import main as cli
from ppo.compare.curves import read_curves, write_curves
from ppo.config.presets import ENVIRONMENTS
from ppo.run.checkpoint import read_checkpoint, write_checkpoint
from ppo.supervised.pretrain import pretrain

COMMITTED, SPAWN = suite.RESULTS, suite._ppo
TASK = Task("Cart, Pole", "CartPole-v1 --num-envs 2 --num-steps 64 --total-timesteps 512", 475)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Run the commands in this process, in a folder of the test."""
    monkeypatch.setattr(suite, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(suite, "_ppo", lambda arguments, log, *_: cli.main(arguments))


def test_a_task_is_trained_once_in_a_process_of_its_own_up_to_its_steps_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "_ppo", SPAWN)
    task = replace(TASK, arguments=f"{TASK.arguments}000 --compile off", until=384, sampled_only=True)
    result, run = suite.run_one("tiny", task, suite.settings_of(task), 3, 2)
    assert (result.task, result.seed, result.episodes, result.deterministic) == ("Cart, Pole", 3, 2, None)
    assert 384 <= result.steps < 512_000
    assert (run.env_id, run.algorithm, run.seed) == ("CartPole-v1", "ppo", "3")
    assert run.settings == (("task", "Cart, Pole"), ("policy", "auto"))
    (log,) = (tmp_path / "runs").rglob("s3.log")
    log.unlink()
    assert suite.run_one("tiny", task, suite.settings_of(task), 3, 2)[0] == result
    assert not log.exists()  # nothing was trained again


def test_an_interrupted_run_is_resumed(tmp_path):
    folder = tmp_path / "runs" / "tiny" / f"Cart__Pole-{suite.settings_of(TASK)}"
    folder.mkdir(parents=True)
    arguments = [*TASK.arguments.split(), "--seed", "1", "--runs-dir", str(folder), "--checkpoint-every", "1"]

    def cut_off(progress):
        if progress.iteration == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Trainer(cli.parse(["train", *arguments]).settings).train(cut_off)
    (progress,) = folder.rglob("progress.csv")
    assert len(progress.read_text().splitlines()) == 3
    result, _ = suite.run_one("tiny", TASK, suite.settings_of(TASK), 1, 1)
    assert result.steps > 384
    assert len(progress.read_text().splitlines()) == 5


def test_a_run_that_is_interrupted_again_has_no_score(tmp_path, monkeypatch):
    def stop(arguments, *_):
        first = arguments[0] == "train"
        trainer = Trainer(cli.parse(arguments).settings) if first else Trainer.resume(arguments[1])
        for _ in trainer.iterations():
            trainer.stop()

    monkeypatch.setattr(suite, "_ppo", stop)
    task = replace(TASK, arguments=f"{TASK.arguments}0")
    with pytest.raises(SystemExit, match="was interrupted again; start the suite again to resume it"):
        suite.run_one("tiny", task, suite.settings_of(task), 1, 1)


@pytest.mark.parametrize("way", ["pretrain", "train"])
def test_a_task_that_starts_from_another_run_gets_one_and_measures_its_metric(tmp_path, way):
    small = "text/RandomWalks-v0 --num-envs 8 --num-steps 16 --num-minibatches 2 --total-timesteps 256"
    task = Task("walks", f"{small} --init-from {{start}}", None, "", f"{way} {small}", "ended")
    result, _ = suite.run_one("tiny", task, suite.settings_of(task), 2, 4)
    assert all(0 <= score <= 1 for score in (result.sampled, result.deterministic, *result.start))
    assert len(result.start) == 2
    (start,) = (tmp_path / "runs").rglob("start/*__s2/checkpoints/latest.safetensors")
    assert read_checkpoint(start)[1]["made_by"] == way


def test_a_result_is_not_measured_again_unless_its_preset_changed(monkeypatch):
    monkeypatch.setitem(suite.SUITES, "memory", [TASK])
    monkeypatch.setattr(suite, "draw", lambda name: None)
    monkeypatch.setattr(suite.pages, "write", lambda: None)
    seeds = []
    _, run = suite.run_one("tiny", TASK, suite.settings_of(TASK), 1, 1)

    def train(name, task, settings, seed, episodes):
        seeds.append(seed)
        result = suite.Result(
            task.name, task.arguments, settings, seed, 512, 9.0, 9.0, episodes, "2026-01-0" + str(seed), "torch 2"
        )
        return result, replace(run, seed=str(seed))

    monkeypatch.setattr(suite, "run_one", train)
    suite.main("memory", seeds=1, jobs=1, episodes=1)
    suite.main("memory", seeds=2, jobs=1, episodes=1)
    assert seeds == [1, 2]
    header = json.loads((suite.RESULTS / "memory.json").read_text())
    assert header.pop("results")[0]["date"] == "2026-01-01"
    command = "python -m benchmarks.suite memory --seeds 2 --episodes 1"
    assert header == {"command": command, "date": "2026-01-01 to 2026-01-02", "versions": "torch 2"}
    monkeypatch.setitem(ENVIRONMENTS["CartPole"], "gamma", 0.5)
    suite.main("memory", seeds=1, jobs=1, episodes=1)
    assert seeds == [1, 2, 1]
    results = json.loads((suite.RESULTS / "memory.json").read_text())["results"]
    assert [(r["seed"], r["settings"]) for r in results] == [(1, suite.settings_of(TASK))]
    assert [run.seed for run in read_curves(suite.RESULTS / "memory.csv")] == ["1"]


def test_no_run_begins_after_one_that_failed(monkeypatch):
    seeds = []

    def fail(name, task, settings, seed, episodes):
        seeds.append(seed)
        time.sleep(0.1)  # a run takes time, and a busy machine notices a failure late
        raise InterruptedError

    monkeypatch.setattr(suite, "run_one", fail)
    with pytest.raises(InterruptedError):
        suite.main("memory", seeds=50, jobs=1, episodes=1)
    assert len(seeds) < 50  # of 200; some may have begun before the first failure was noticed


def test_curves_of_a_suite_are_read_back_with_their_labels(tmp_path):
    _, run = suite.run_one("tiny", TASK, suite.settings_of(TASK), 1, 1)
    write_curves(tmp_path / "tiny.csv", [run], 40)
    (back,) = read_curves(tmp_path / "tiny.csv")
    assert (back.env_id, back.settings) == (run.env_id, run.settings)


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.usefixtures("stand_ins")
def test_every_argument_of_a_suite_can_be_parsed(name):
    if name == "atari":
        pytest.importorskip("ale_py")
    names, words = [task.name for task in SUITES[name]], set()
    assert len(set(names)) == len(names)
    for task in SUITES[name]:
        if not words.issuperset(task.arguments.split()):
            suite.settings_of(task)
        words.update(task.arguments.split())
        assert ("{start}" in task.arguments) == bool(task.start)


def test_an_interrupted_run_is_finished_and_a_finished_one_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a run's path, new or taken, is relative: the digests of runs from it have it
    config = preset("text/RandomWalks-v0").replace(
        {"runs_dir": "some", "num_envs": 8, "num_steps": 16, "num_minibatches": 2, "exp_name": "walk", "seed": 2}
        | {"update_epochs": 1, "eval_episodes": 1, "threads": 1}
    )
    short, long = (config.replace({"total_timesteps": steps}) for steps in (300, 600))

    def stop(trainer):
        os.kill(os.getpid(), signal.SIGINT)

    def cut_off(trainer):
        trainer.train(stop)

    with pytest.raises(KeyboardInterrupt):
        finish(long, cut_off)
    run = finish(long)
    assert finish(long, cut_off) == run
    assert finish(short) != run
    with pytest.raises(KeyboardInterrupt):
        finish(short.replace({"exp_name": "clone"}), partial(pretrain, report=stop))
    clone = finish(short.replace({"exp_name": "clone"}), pretrain)
    assert read_checkpoint(clone / "checkpoints" / "latest.safetensors")[1]["made_by"] == "pretrain"
    assert finish(short.replace({"exp_name": "clone"}), None) == clone


def test_results_are_saved_with_what_made_them(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "today", lambda: "2026-01-31")
    monkeypatch.setattr(runs, "version", {"torch": "2.0", "gymnasium": "1.0"}.__getitem__)
    monkeypatch.setattr(runs, "PackageNotFoundError", KeyError)  # MuJoCo is not installed
    runs.save(tmp_path / "results" / "x.json", "python -m x", [{"β": 1.5}], steps=7)
    header = {"command": "python -m x", "date": "2026-01-31", "versions": "torch 2.0, gymnasium 1.0", "steps": 7}
    assert json.loads((tmp_path / "results" / "x.json").read_text(encoding="utf-8")) == header | {
        "results": [{"β": 1.5}]
    }


def test_a_run_is_found_by_its_whole_name_and_seed(tmp_path):
    for name in ("env__td-1__s10", "env__other-1__s1", "env__td-1__s1", "env__td-1__s1__2", "env__td-1__s1__10"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        write_checkpoint(
            tmp_path / name / "checkpoints" / "latest.safetensors", {}, {"made_by": "train", "finished": True}
        )
    (tmp_path / "env__td-1__s1__3").mkdir()  # without a checkpoint
    assert newest_run(tmp_path, "__td-1", 1).name == "env__td-1__s1__10"
    assert newest_run(tmp_path, "__td-1", 10).name == "env__td-1__s10"
    assert newest_run(tmp_path, "__td-1", 2) is None


@pytest.mark.parametrize("name", [name for name in SUITES if (COMMITTED / f"{name}.json").is_file()])
def test_every_committed_result_has_its_curve(name):
    rows = json.loads((COMMITTED / f"{name}.json").read_text())["results"]
    curves = {suite.key_of(run) for run in read_curves(COMMITTED / f"{name}.csv")}
    assert {(row["task"], str(row["seed"])) for row in rows} == curves
    assert {row["task"] for row in rows} <= {task.name for task in SUITES[name]}  # the page shows each
    assert len([suite.Result(**row) for row in rows]) == len(rows)


def measured(log, name, seed):
    with open(log, "a") as file:
        file.write(f"{name}{seed} ")
    return [{"half": half, "value": 10 * seed + half} for half in (0, 1)]


def test_a_grid_is_measured_once_and_again_with_other_settings(tmp_path):
    path, log = tmp_path / "grid.json", tmp_path / "log"
    cells = [{"log": str(log), "name": name, "seed": seed} for seed in (1, 2) for name in "ab"]
    fill(path, "make it", cells[:2], measured, 1, size=3)
    fill(path, "make it", cells, measured, 1, size=3)
    assert log.read_text() == "a1 b1 a2 b2 "
    data = json.loads(path.read_text())
    assert (data["command"], data["size"]) == ("make it", 3)
    assert data["results"] == [
        cell | {"half": half, "value": 10 * cell["seed"] + half} for cell in cells for half in (0, 1)
    ]
    fill(path, "make it", cells[:1], measured, 1, size=4)
    assert log.read_text() == "a1 b1 a2 b2 a1 "
    assert len(json.loads(path.read_text())["results"]) == 2
