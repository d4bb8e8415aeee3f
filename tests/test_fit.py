"""The supervised loop: budget, learning rate, early stopping, and the run that it writes."""

import csv
import math

import pytest

from ppo import Trainer, UsageError, preset
from ppo.run.checkpoint import read_checkpoint
from ppo.supervised.fit import check_trainer, fit


def trainer(folder, env_id="text/Copy-v0", **settings):
    small = {"runs_dir": str(folder), "total_timesteps": 100, "learning_rate": 0.5, "state_size": 8, "compile": "off"}
    return Trainer(preset(env_id).replace(small | {"num_envs": 4, "num_steps": 8, "num_minibatches": 1} | settings))


def run(folder, values, patience, **settings):
    """Fit with these held-out metrics; the policy's first weight counts the steps."""
    made, rates, values = trainer(folder, **settings), [], iter(values)
    weights = made.learner.policy.vector
    weights[0] = 0.0

    def train_step(learning_rate):
        rates.append(learning_rate)
        weights[0] += 1
        return {"loss": 0.25}, 10

    result = fit(made, "pretrain", "eval/metric", patience, train_step, lambda: next(values))
    return made, result, rates


def test_the_best_policy_is_kept_and_patience_ends_the_run(tmp_path):
    made, result, _ = run(tmp_path, [3, 2, 5, 4, 1], patience=2)
    assert (result.metric, result.finished, float(made.learner.policy.vector[0])) == (2, True, 2)
    assert made.global_step == 40  # the evaluations after 30 and 40 tokens are not better


def test_without_patience_the_last_policy_is_kept(tmp_path):
    made, result, _ = run(tmp_path, range(10), patience=0)
    assert (result.metric, float(made.learner.policy.vector[0]), made.global_step) == (9, 10, 100)


def test_the_learning_rate_falls_to_zero_over_the_budget_if_it_is_annealed(tmp_path):
    assert run(tmp_path, range(10), 0, anneal_lr=True)[2] == pytest.approx([0.5 * (1 - n / 10) for n in range(10)])
    assert run(tmp_path, range(10), 0, anneal_lr=False)[2] == [0.5] * 10


def test_the_run_has_a_log_and_a_checkpoint_that_names_its_command(tmp_path):
    _, result, _ = run(tmp_path, [math.inf, 2, 1, 1, 1, 1, 1, 1, 1, 1], 0)
    rows = list(csv.DictReader((result.run_dir / "progress.csv").read_text().splitlines()))
    assert [float(row["pretrain/loss"]) for row in rows] == [0.25] * 10
    assert [float(row["eval/metric"]) for row in rows[:3]] == [math.inf, 2, 1]
    meta = read_checkpoint(result.run_dir / "checkpoints" / "latest.safetensors")[1]
    assert (meta["made_by"], meta["finished"], meta["global_step"]) == ("pretrain", True, 100)


@pytest.mark.parametrize(
    ("env_id", "settings", "patience", "sentence"),
    [
        ("text/Copy-v0", {}, -1, "patience = -1 is too small; choose at least 0"),
        ("text/Copy-v0", {"top_p": 0.5}, 5, "temperature, top_k and top_p affect only sampling"),
    ],
)
def test_settings_that_cannot_be_used_are_one_sentence(tmp_path, env_id, settings, patience, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_trainer(trainer(tmp_path, env_id, **settings), patience)
