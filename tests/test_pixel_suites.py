"""The suites of small images, of image dictionaries, of held-out tasks and of several agents can be run in small, with their own presets."""

import math

import pytest
from command_line import TINY

from benchmarks import suite
from benchmarks.suites import SUITES
from ppo.cli import main as cli

TASKS = [(name, task) for name in ("minatar", "pixels", "held_out", "agents") for task in SUITES[name]]
SMALL = [*TINY, "--total-timesteps", "64", "--compile", "off", "--threads", "1"]


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(("name", "task"), TASKS, ids=[task.name for _, task in TASKS])
def test_each_task_is_trained_and_evaluated_in_small(name, task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # ViZDoom, if it is installed, writes a file into the current folder
    monkeypatch.setattr(suite, "RUNS", tmp_path)
    own = ["--num-envs", "3", "--num-steps", "8"] if name == "agents" else ["--vectorization", "sync"]
    monkeypatch.setattr(suite, "_ppo", lambda arguments, log, *_: cli.main([*arguments, *SMALL, *own]))
    result, run = suite.run_one(name, task, suite.settings_of(task), 1, 2)
    steps = 54 if name == "agents" else 64  # decisions: in 9 of the 12 rows of an episode the agent is there
    assert (result.steps, result.episodes, run.env_id) == (steps, 2, task.arguments.split()[0])
    assert math.isfinite(result.sampled)
    assert math.isfinite(result.deterministic)
