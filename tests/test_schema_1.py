"""Runs of the first version, committed as it wrote them, are used as if they were of today."""

import shutil
from pathlib import Path

import pytest

from ppo import Trainer, UsageError, evaluate, export
from ppo.config.presets import preset
from ppo.run.checkpoint import read_checkpoint
from ppo.sampling import sample

RUNS = Path(__file__).parent / "schema_1"


@pytest.fixture
def runs(tmp_path):
    return Path(shutil.copytree(RUNS, tmp_path / "runs"))


@pytest.mark.parametrize(("name", "made_by"), [("cartpole", "train"), ("walks", "pretrain")])
def test_its_metadata_is_read_as_todays(runs, name, made_by):
    meta = read_checkpoint(runs / name / "checkpoints" / "latest.safetensors")[1]
    assert (meta["schema"], meta["made_by"], meta["finished"], meta["own_envs"]) == (2, made_by, True, False)


def test_it_resumes_with_a_larger_budget_and_is_then_of_todays_schema(runs):
    trainer = Trainer.resume(runs / "cartpole", {"total_timesteps": 128})
    assert (trainer.iteration, trainer.global_step, trainer.finished) == (2, 63, False)  # one dead row
    trainer.train()
    assert (trainer.iteration, trainer.finished) == (4, True)
    assert Trainer.resume(runs / "cartpole").iteration == 4
    assert len((runs / "cartpole" / "progress.csv").read_text().splitlines()) == 1 + 4


def test_it_evaluates_and_exports(runs):
    report = evaluate(runs / "cartpole", episodes=2)
    assert [episode.length > 0 for episode in report.episodes] == [True, True]
    assert export(runs / "cartpole").path.is_file()


def test_a_pretrained_policy_is_sampled_and_trained_from_and_not_resumed(runs):
    assert len(sample(runs / "walks", 2)) == 2
    near = {"init_from": str(runs / "walks"), "reference": str(runs / "walks"), "runs_dir": str(runs)}
    small = {"num_envs": 4, "num_steps": 16, "num_minibatches": 1, "total_timesteps": 64, "eval_episodes": 0}
    config = preset("text/RandomWalks-v0").replace(near | small | {"state_size": 8, "hidden_sizes": [8]})
    assert Trainer(config).train().is_dir()
    with pytest.raises(UsageError, match="was made by `ppo pretrain`"):
        Trainer.resume(runs / "walks")
