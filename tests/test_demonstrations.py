"""The benchmark of demonstrations, in small: three runs a task, which are not repeated, and a page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import demonstrations
from benchmarks.runs import settings


@pytest.mark.slow
def test_two_tasks_end_in_a_page(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    small = {
        "num_envs": 4,
        "num_steps": 256,
        "num_minibatches": 4,
        "update_epochs": 2,
        "compile": "off",
        "eval_episodes": 2,
    }
    budget = {"total_timesteps": 2048}
    setups = {
        name: replace(setup, episodes=4, alone=budget, after=budget, more={"max_episode_steps": 130})
        for name, setup in demonstrations.SETUPS.items()
    }
    changes = {"SETUPS": setups, "CLONE": budget, "RESULTS": tmp_path, "EPISODES": 2}
    for name, value in changes.items():
        monkeypatch.setattr(demonstrations, name, value)
    monkeypatch.setattr(demonstrations, "settings", lambda *args, **more: settings(*args, **more | small))
    monkeypatch.setattr(demonstrations.pages, "write", lambda: None)
    demonstrations.main(seeds=(1,), jobs=1)
    cheetah, car = json.loads(Path("demonstrations.json").read_text())["results"]
    assert car["demonstrations"] > 80  # the rule reaches the top
    assert car["alone_steps"] is None
    assert cheetah["target"] == 3000
    page = demonstrations.pages.render("demonstrations", tmp_path)
    assert "| MountainCarContinuous-v0, 130 steps | 90 |" in page
    assert "0 of 1 within 2,048" in page
    times = {path: path.stat().st_mtime for path in Path("runs").rglob("progress.csv")}
    assert len(times) == 6
    demonstrations.main(seeds=(1,), jobs=1)
    assert times == {path: path.stat().st_mtime for path in Path("runs").rglob("progress.csv")}
