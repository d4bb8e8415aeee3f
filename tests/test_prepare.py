"""What is prepared before the first rollout is what the first rollout and the first update need."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from ppo import Config, Trainer
from ppo.machine.compile import Compiled

CASES: dict[str, dict[str, Any]] = {
    "mlp": {"env_id": "CartPole-v1", "target_kl": 0.01, "normalize_obs": True},
    "gru": {"env_id": "CartPole-v1", "policy": "gru", "seq_len": 4},
    "transformer": {"env_id": "CartPole-v1", "policy": "transformer", "seq_len": 8},
    "continuous actions": {"env_id": "Pendulum-v1", "norm_adv": False, "optimizer": "rmsprop"},
    "text": {"env_id": "text/Reverse-v0", "policy": "gru"},
    "several discrete numbers": {"env_id": "Taxi-v4"},
}


def described(tensors: tuple[Tensor, ...]) -> list[tuple[Any, ...]]:
    return [(x.dtype, tuple(x.shape), x.stride()) for x in tensors]


@pytest.mark.parametrize("case", CASES)
def test_functions_are_prepared_for_what_they_are_bound_to_and_no_random_number_changes(case, tmp_path, monkeypatch):
    def trained(compiled: bool) -> tuple[Tensor, dict[str, list[Any]]]:
        seen: dict[str, list[Any]] = {"prepare": [], "bind": []}

        def prepare(self: Compiled, *example: Tensor) -> None:
            seen["prepare"].append((self.name, described(example)))

        def bind(self: Compiled, *example: Tensor) -> Any:
            seen["bind"].append((self.name, described(example)))
            return functools.partial(self.function, self.policy)

        monkeypatch.setattr(Compiled, "prepare", prepare)
        monkeypatch.setattr(Compiled, "bind", bind)
        settings = CASES[case] | {"num_envs": 4, "num_steps": 16, "num_minibatches": 2, "total_timesteps": 64}
        config = Config().replace(settings | {"runs_dir": str(tmp_path), "eval_episodes": 0, "threads": 1})
        with Trainer(config.replace({"compile": "on" if compiled else "off"})) as trainer:
            trainer.train()
            return trainer.learner.policy.vector.clone(), seen

    vector, seen = trained(True)
    assert seen["prepare"] == seen["bind"]
    assert [name for name, _ in seen["prepare"]] == ["policy", "optimizer step"]
    again, seen = trained(False)
    assert seen["prepare"] == []
    assert torch.equal(vector, again)
