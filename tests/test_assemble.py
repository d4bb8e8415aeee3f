"""Assembling: what a run is made of follows from its settings."""

import os
import subprocess
import sys

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


@pytest.fixture
def threads():
    """Restore the number of torch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_weights_do_not_depend_on_the_number_of_threads_before(threads):
    results = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results.append(weights(assemble(Config().replace(SMALL | {"hidden_sizes": [512, 512], "threads": 1}))))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


WEIGHTS = """
import hashlib
from ppo import Config
from ppo.loop.assemble import assemble
parts = assemble(Config().replace({"threads": 1, "hidden_sizes": [512, 512]}))
print(hashlib.sha256(b"".join(x.numpy().tobytes() for x in parts.policy.state_dict().values())).hexdigest())
"""


@pytest.mark.slow
def test_the_weights_do_not_depend_on_omp_num_threads():
    digests = {
        subprocess.run(
            [sys.executable, "-c", WEIGHTS],
            env=os.environ | {"OMP_NUM_THREADS": number},
            check=True,
            capture_output=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(digests) == 1


def test_a_refusal_closes_the_environments_that_were_made(monkeypatch):
    closed = []
    monkeypatch.setattr("gymnasium.vector.SyncVectorEnv.close", lambda self, **_: closed.append(self))
    settings = SMALL | {"vectorization": "sync", "policy": "cnn"}
    with pytest.raises(UsageError, match="cnn policy needs an image"):
        assemble(Config().replace(settings))
    assert len(closed) == 1


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
