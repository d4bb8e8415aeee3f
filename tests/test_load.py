"""Saved policies: a run's policy, its architecture, and the environments it was trained for."""

import contextlib

import pytest
import torch

from ppo import Config, Trainer, UsageError
from ppo.envs.space_json import spaces_of
from ppo.run.load import architecture, envs_for, load, load_for

SMALL = {"num_envs": 2, "num_steps": 8, "num_minibatches": 1, "total_timesteps": 16, "eval_episodes": 0,
         "compile": "off"}  # fmt: skip


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    settings = SMALL | {
        "policy": "gru",
        "state_size": 5,
        "temperature": 0.5,
        "runs_dir": str(tmp_path_factory.mktemp("runs")),
    }
    trainer = Trainer(Config().replace(settings))
    with contextlib.closing(trainer.envs):
        trainer.train()
    return trainer


def test_a_loaded_policy_has_the_weights_and_the_settings_of_the_run(trainer):
    saved = load(trainer.run_dir)
    assert saved.config == trainer.config
    assert not saved.policy.training
    weights = trainer.policy.state_dict()
    assert all(torch.equal(x, weights[name]) for name, x in saved.policy.state_dict().items())


def test_a_setting_can_be_overridden(trainer):
    assert load(trainer.run_dir, temperature=2.0).config.temperature == 2.0


def test_the_architecture_is_the_settings_that_weights_depend_on(trainer):
    network = architecture(str(trainer.run_dir))
    assert (network["policy"], network["state_size"]) == ("gru", 5)
    assert "temperature" not in network
    assert Config().replace(network).policy_options().items() >= {"state_size": 5, "normalize_obs": False}.items()


def test_a_run_of_other_spaces_is_named_with_the_setting(trainer):
    assert load_for("reference", str(trainer.run_dir), spaces_of(trainer.envs)).config == trainer.config
    with pytest.raises(UsageError, match="was trained on CartPole-v1, which has other spaces or another vocabulary"):
        load_for("reference", str(trainer.run_dir), {})
    with pytest.raises(UsageError, match="reference = 'absent': absent is"):
        load_for("reference", "absent", {})


def test_its_environments_are_those_of_the_run(trainer):
    with contextlib.closing(envs_for(load(trainer.run_dir), 3, {"sutton_barto_reward": True})) as envs:
        assert envs.num_envs == 3
        assert spaces_of(envs) == load(trainer.run_dir).meta["spaces"]


def test_a_vector_environment_of_ones_own_cannot_be_made_again(trainer):
    saved = load(trainer.run_dir)
    saved.meta["own_envs"] = True
    with pytest.raises(UsageError, match=r"use load_policy\(run\).act from Python"):
        envs_for(saved, 1)
