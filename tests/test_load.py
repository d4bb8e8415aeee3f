"""Saved policies: a run's policy, the settings that another run takes over, and the environments it was trained for."""

import contextlib
import shutil
import sys

import gymnasium
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from ppo import Config, Trainer, UsageError, evaluate, export, load_policy
from ppo.envs.space_json import spaces_of
from ppo.run.checkpoint import checkpoint_path, read_checkpoint, write_checkpoint
from ppo.run.load import envs_for, inherited, load, load_for
from ppo.run.logger import Logger
from ppo.sampling import chat, sample

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


def test_what_a_run_inherits_is_the_settings_that_weights_and_values_depend_on(trainer):
    network = inherited(str(trainer.run_dir))
    assert (network["policy"], network["state_size"]) == ("gru", 5)
    assert "temperature" not in network
    assert (network["gamma"], network["resize"], network["critic_key"]) == (0.99, 0, "critic")
    assert Config().replace(network).policy_options().items() >= {"state_size": 5, "normalize_obs": False}.items()


@pytest.mark.parametrize(
    ("gamma", "last"),
    [
        ("0.9 -> 0.95", 0.95),
        ("adaptive from 0.98", "adaptive from 0.980315 between 0.9 and 0.995"),  # 50 + 16 / 20: no end
        ("adaptive from 0.99 between 0.9 and 0.9900000001", "adaptive from 0.9900000001 between 0.9 and 0.9900000001"),
    ],
)
def test_the_discount_goes_on_where_it_was(tmp_path, gamma, last):
    run = Trainer(Config().replace(SMALL | {"gamma": gamma, "runs_dir": str(tmp_path)})).train()
    assert inherited(str(run))["gamma"] == last
    assert Config().replace(inherited(str(run))).to_json()["gamma"] == last


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


# ---- a run of another person ----------------------------------------------------------------------------------------

EVIL = """
import pathlib
pathlib.Path({mark!r}).touch()
from ppo.policies import POLICIES
Net = POLICIES["mlp"]
def score(completions): return [0.0] * len(completions)
"""
TEXT = SMALL | {"env_id": "text/Write-v0", "policy": "gru", "gamma": 1.0, "state_size": 4, "hidden_sizes": [4]}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Runs of another user: of CartPole, and of a text task."""
    folder = tmp_path_factory.mktemp("theirs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPO_CACHE", str(folder / "their cache"))
        plain = Trainer(Config().replace(SMALL | {"runs_dir": str(folder)})).train()
        reward = "ppo.envs.spaces:one_line"
        text = Trainer(Config().replace(TEXT | {"runs_dir": str(folder), "env_kwargs": {"reward": reward}}))
        text.save(False)
        Logger(text.run_dir, {}).close()
    return {"plain": plain, "text": text.run_dir}


@pytest.fixture
def forge(theirs, tmp_path, monkeypatch):
    """Return a function that copies a run of another user and changes its metadata; its modules leave the file `mark`."""
    (tmp_path / "evil_module.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)

    def change(kind, **fields):
        run = shutil.copytree(theirs[kind], tmp_path / "foreign", dirs_exist_ok=True)
        path = checkpoint_path(run, "latest")
        tensors, meta = read_checkpoint(path)
        meta["policy"] = fields.get("policy", meta["policy"])
        meta["config"] |= fields
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PPO_CACHE", str(tmp_path / "their cache"))
            write_checkpoint(path, tensors, dict(meta))
        return run

    return change


READERS = {
    "load_policy": load_policy, "evaluate": lambda run, **more: evaluate(run, 1, **more), "resume": Trainer.resume,
    "export": export, "sample": lambda run, **more: sample(run, 1, **more),
    "chat": lambda run, **more: chat(run, lambda turn: None, **more),
    "init_from": lambda run, **more: Trainer(Config().replace(SMALL | {"init_from": str(run)}), **more),
    "reference": lambda run, **more: Trainer(Config().replace(SMALL | {"reference": str(run)}), **more),
    "inherited": lambda run: inherited(str(run)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields", "readers"),
    [
        ("plain", {"policy": "evil_module:Net"}, {*READERS}),
        ("plain", {"env_id": "evil_module:Id-v0"}, {"resume", "evaluate", "sample", "chat"}),
        ("text", {"env_kwargs": {"reward": "evil_module:score"}}, {"resume", "evaluate", "sample", "chat"}),
        ("text", {"env_kwargs": {"judge": "evil_module:score"}}, {"resume", "evaluate", "sample", "chat"}),
    ],
)
def test_a_foreign_run_imports_no_module_of_its_choosing(forge, tmp_path, kind, fields, readers):
    run = forge(kind, **fields)
    for name in readers:
        with pytest.raises(
            UsageError, match=r"foreign, which this user has not made, needs the module evil_module, .*"
        ):
            READERS[name](run)
        assert not (tmp_path / "mark").exists(), name


def test_the_settings_of_a_foreign_run_bring_no_policy_of_its_own(forge):
    run = forge("plain", policy="evil_module:Net")
    with pytest.raises(UsageError, match="needs the module evil_module"):
        inherited(str(run))
    assert inherited(str(run), "evil_module:Net")["policy"] == "evil_module:Net"  # the user named it too


def test_a_foreign_run_that_names_no_module_needs_no_trust(forge):
    run = forge("plain")
    assert load(run).meta["signed"] is False
    assert evaluate(run, 1).episodes
    assert Trainer.resume(run).iteration == 1


def test_trust_imports_what_a_foreign_run_names(forge, tmp_path):
    run = forge("plain", policy="evil_module:Net")
    assert evaluate(run, 1, trust=True).episodes
    assert (tmp_path / "mark").exists()
    Trainer.resume(run, trust=True).save(True)  # now it is the user's own
    assert load(run).meta["signed"] is True


def test_what_the_user_names_needs_no_trust(forge, tmp_path):
    run = forge("text", env_kwargs={"reward": "absent_module:score"})
    assert evaluate(run, 1, env_kwargs={"reward": "evil_module:score"}).episodes
    assert (tmp_path / "mark").exists()


def test_arguments_of_an_environment_from_elsewhere_need_trust(forge, monkeypatch):
    # Another package may import what an argument names, as highway-env and shimmy do.
    run = forge("plain", env_id="Theirs-v0", env_kwargs={"vehicle": "evil.Car"})
    monkeypatch.setitem(gymnasium.registry, "Theirs-v0", EnvSpec("Theirs-v0", entry_point="their_package:Env"))
    with pytest.raises(UsageError, match=r"env_id = 'Theirs-v0' with env_kwargs: .* needs the module their_package"):
        evaluate(run, 1)
