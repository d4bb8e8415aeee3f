"""The benchmark of distillation, in small: three runs, which are not repeated, and a page."""

import json
from pathlib import Path

import pytest

from benchmarks import distillation
from benchmarks.runs import meta_of, settings
from ppo.run.load import config_of


@pytest.mark.slow
def test_a_teacher_and_two_students_end_in_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {"num_envs": 32, "num_steps": 16, "num_minibatches": 2, "update_epochs": 1, "compile": "off"}
    sizes = {
        "TOKENS": 600, "PASSES": 2, "EPISODES": 20, "RESULTS": tmp_path,
        "TEACHERS": {"text/Copy-v0": {"hidden_sizes": [64], "total_timesteps": 512}},
    }  # fmt: skip
    for name, value in sizes.items():
        monkeypatch.setattr(distillation, name, value)
    monkeypatch.setattr(distillation, "settings", lambda *args, **more: settings(*args, **small | more))
    monkeypatch.setattr(distillation.pages, "write", lambda: None)
    distillation.main(seeds=(1,), jobs=1)
    data = json.loads(Path("distillation.json").read_text())
    (point,) = data["results"]
    assert data["command"] == "python -m benchmarks.distillation --seeds 1"
    assert point["parameters"] == pytest.approx(0.27, abs=0.02)
    assert all(0 <= point[name] <= 1 for name in ("teacher", "student", "likelihood"))
    page = distillation.pages.render("distillation", tmp_path)
    assert "| text/Copy-v0 | 27 % |" in page
    runs = {path.name.split("__")[1].split("-")[0]: path for path in Path("runs/distillation").iterdir()}
    assert {name: meta_of(run)["made_by"] for name, run in runs.items()} == {
        "teacher": "train", "student": "train", "likelihood": "pretrain",
    }  # fmt: skip
    student = config_of(runs["student"])
    assert (student.algorithm, student.reward, Path(student.reference).name) == (
        "distill",
        "none",
        runs["teacher"].name,
    )
    times = {run: (run / "progress.csv").stat().st_mtime for run in runs.values()}
    assert [{"task": "text/Copy-v0", "seed": 1} | row for row in distillation.train("text/Copy-v0", 1)] == [point]
    assert times == {run: (run / "progress.csv").stat().st_mtime for run in runs.values()}
