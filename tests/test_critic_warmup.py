"""The benchmark of the critic's warm-up, in small: runs with and without it from one clone, and a page."""

import json

import pytest

from benchmarks import critic_warmup
from benchmarks.runs import finish, settings
from ppo.supervised.pretrain import pretrain

WALKS = "text/RandomWalks-v0"
SMALL = {"num_envs": 16, "num_steps": 32, "num_minibatches": 2, "update_epochs": 1, "compile": "off", "state_size": 16}


@pytest.mark.slow
def test_runs_with_and_without_end_in_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def clone(seed):
        return finish(
            settings(WALKS, critic_warmup.RUNS, "clone", seed, total_timesteps=40_000, learning_rate=1e-2, **SMALL),
            pretrain,
        )

    more = SMALL | {"eval_episodes": 0, "total_timesteps": 10_000}
    tasks = {"walks": critic_warmup.Task(WALKS, clone, more, True, 2)}
    for name, value in {"TASKS": tasks, "STEPS": 2000, "RESULTS": tmp_path}.items():
        monkeypatch.setattr(critic_warmup, name, value)
    monkeypatch.setattr(critic_warmup.pages, "write", lambda: None)
    critic_warmup.main(seeds=2, jobs=1)
    rows = json.loads((tmp_path / "critic_warmup.json").read_text())["results"]
    assert [(row["seed"], row["warmup"]) for row in rows] == [(1, 0), (1, 2), (2, 0), (2, 2)]
    for without, with_warmup in zip(rows[::2], rows[1::2], strict=True):
        assert without["first"] == with_warmup["first"]  # of the clone
        assert without["last"] != with_warmup["last"]
    page = critic_warmup.pages.render("critic_warmup", tmp_path)
    assert page.count("\n| walks | 2 | ") == 2
