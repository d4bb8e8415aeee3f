"""Every environment that Gymnasium brings trains, or is refused in one sentence that says why."""

import math

import gymnasium
import pytest
import torch

from ppo import Config, Trainer, UsageError
from ppo.envs import module_of

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date", "ignore:builtin type")
TINY = {"num_envs": 2, "num_steps": 8, "num_minibatches": 2, "update_epochs": 1, "total_timesteps": 32}
ENTRY = {i: spec.entry_point for i, spec in gymnasium.registry.items()}
IDS = [i for i, spec in gymnasium.registry.items() if module_of(spec).startswith("gymnasium.envs")]
MOVED = {i for i in IDS if not isinstance(ENTRY[i], str)}  # to other packages: MuJoCo v2 and v3, the old gym's
FOREIGN = {i for i in IDS if i.startswith(("phys2d/", "tabular/"))}  # need JAX
REFUSABLE = MOVED | FOREIGN | {"Pusher-v4"}  # which asks for mujoco < 3


def train(env_id, tmp_path, **options):
    """Train for two iterations and return the trainer and the two rows of statistics."""
    rows = []
    trainer = Trainer(Config(env_id, runs_dir=tmp_path, eval_episodes=0, **TINY, **options))
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    trainer.train(lambda progress: rows.append(progress.row))
    trainer.envs.close()
    after = list(trainer.policy.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return trainer, rows


def assert_trained(trainer, rows):
    dead = 4 if trainer.config.env_id.startswith("CartPole") else 0  # at most; the others have no dead steps
    assert trainer.iteration == len(rows) == 2
    assert 32 - dead <= trainer.global_step <= 32
    losses = ("policy_loss", "value_loss", "entropy", "approx_kl", "grad_norm")
    assert all(math.isfinite(row[f"losses/{name}"]) for row in rows for name in losses)


@pytest.mark.parametrize("env_id", IDS)
def test_every_environment_trains_or_is_refused_in_one_sentence(env_id, tmp_path):
    refusal = ""
    try:
        assert_trained(*train(env_id, tmp_path))
    except UsageError as error:
        refusal = str(error)
    assert not refusal or env_id in REFUSABLE
    assert not refusal or (env_id in refusal and len(refusal.splitlines()) == 1)
    assert not refusal or not list(tmp_path.iterdir())  # refused before anything is written


def test_what_gymnasium_has_moved_elsewhere_is_refused(tmp_path):
    assert {"HalfCheetah-v2", "HalfCheetah-v3", "GymV26Environment-v0"} <= MOVED
    for env_id in MOVED:
        with pytest.raises(UsageError):
            train(env_id, tmp_path)


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "LunarLander-v3", "Blackjack-v1", "Taxi-v4", "Ant-v5"]
)
def test_one_environment_of_each_family_trains_with_memory(env_id, tmp_path):
    assert_trained(*train(env_id, tmp_path, policy="gru"))


@pytest.mark.parametrize(
    ("policy", "kwargs"), [("cnn", {"continuous": True}), ("cnn", {"continuous": False}), ("gru", {})]
)
def test_images_are_convolved(policy, kwargs, tmp_path):
    trainer, rows = train("CarRacing-v3", tmp_path, policy="gru" if policy == "gru" else "auto", env_kwargs=kwargs)
    assert_trained(trainer, rows)
    assert trainer.parts.policy_name == policy
    assert sum(isinstance(module, torch.nn.Conv2d) for module in trainer.policy.modules()) == 3
