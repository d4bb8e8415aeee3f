"""Assembling: what a run is made of follows from its settings."""

import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from ppo import Config, UsageError, make_envs
from ppo.loop.assemble import assemble

SMALL = {"num_envs": 2, "num_steps": 16, "total_timesteps": 64, "hidden_sizes": [4]}


def weights(parts) -> torch.Tensor:
    return torch.cat([x.flatten() for x in parts.policy.state_dict().values()])


def test_the_seed_decides_the_weights():
    first, again, other = (assemble(Config().replace(SMALL | {"seed": seed})) for seed in (1, 1, 2))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_the_callers_envs_set_their_number_and_id():
    parts = assemble(
        Config().replace(SMALL | {"env_id": "Pendulum-v1", "num_envs": 7}), make_envs("CartPole-v1", 4, "sync")
    )
    assert (parts.config.num_envs, parts.config.env_id, parts.own_envs) == (4, "CartPole-v1", True)
    assert isinstance(parts.envs.unwrapped, SyncVectorEnv)


def test_a_choice_comes_with_its_reason():
    parts = assemble(Config().replace(SMALL | {"threads": 1, "device": "cpu", "compile": "off"}))
    choices = (parts.threads, parts.device, parts.compiled)
    assert [choice.value for choice in choices] == [1, torch.device("cpu"), False]
    assert {choice.reason for choice in choices} == {"requested"}


def test_the_tensors_of_the_parts_are_restored_by_name(tmp_path):
    settings = SMALL | {"scale_rewards": True, "normalize_obs": True}
    first, other = (assemble(Config().replace(settings | {"seed": seed})) for seed in (1, 2))
    other.load_state_dict(first.state_dict(), tmp_path)
    assert torch.equal(weights(first), weights(other))
    assert {name.split(".")[0] for name in first.state_dict()} == {"policy", "optimizer", "scaler"}


def test_tensors_of_another_network_are_refused(tmp_path):
    wide = assemble(Config().replace(SMALL | {"hidden_sizes": [8]}))
    with pytest.raises(UsageError, match="does not fit the policy"):
        assemble(Config().replace(SMALL)).load_state_dict(wide.state_dict(), tmp_path)
