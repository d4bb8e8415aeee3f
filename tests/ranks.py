"""Small runs that several ranks train as one does; run by torchrun, or imported and run alone.

torchrun --nproc-per-node 2 tests/ranks.py FOLDER REFERENCE

on the device that RANKS_DEVICE names, the CPU without it.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import ppo
from ppo import Trainer, UsageError, preset, pretrain
from ppo.machine import distributed
from ppo.machine.distributed import join, leave, rank, size

COMMON = {"compile": "off", "checkpoint_every": 2, "vectorization": "auto", "threads": 1} | {
    "device": os.environ.get("RANKS_DEVICE", "cpu")
}
CONTROL = {"vectorization": "sync", "num_envs": 4, "num_steps": 32, "num_minibatches": 2, "update_epochs": 3}
TEXT = {"policy": "gru", "num_envs": 8, "num_steps": 16, "state_size": 16, "hidden_sizes": [16], "num_minibatches": 2}
ADAPTIVE = {"learning_rate": "adaptive", "target_kl": 0.1, "target_entropy": 0.5, "ent_coef": 0.01, "gamma": "adaptive"}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("CartPole-v1", CONTROL | {"normalize_obs": True, "scale_rewards": True, "recompute_advantages": True}),
    "gru": ("CartPole-v1", CONTROL | ADAPTIVE | {"policy": "gru", "seq_len": 8, "clip_coef": "0.2 -> 0.1"}),
    "target_kl": ("CartPole-v1", CONTROL | {"target_kl": 0.0005, "update_epochs": 8}),
    "next_step": ("", CONTROL | {"normalize_obs": True, "scale_rewards": True}),
    "reference": ("text/Copy-v0", TEXT | {"kl_target": 1.0}),
    "grpo": ("text/Copy-v0", TEXT | {"algorithm": "grpo", "group_size": 2, "num_steps": 32}),
}


class Ending(gymnasium.Env):
    """Random observations; a mask in every other step; the value ends in every fourth; an episode of `length` steps."""

    metadata: ClassVar[dict[str, Any]] = {"ppo": {"value_ends": True}}
    observation_space, action_space = Box(-1, 1, (3,)), Discrete(2)

    def __init__(self, length: int) -> None:
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._obs(), self._info()

    def step(self, action):
        self.steps += 1
        return self._obs(), float(action) + self.np_random.normal(), self.steps == self.length, False, self._info()

    def _obs(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def _info(self):
        return {"action_mask": np.array([1, self.steps % 2], np.int8), "value_ends": self.steps % 4 == 3}


def ending() -> VectorEnv:
    """Return this rank's share of four environments, of which only the last two end, so that only they have dead rows."""
    lengths = [1000, 1000, 3, 5]
    own = len(lengths) // size()
    makers = [lambda length=length: Ending(length) for length in lengths[rank() * own : (rank() + 1) * own]]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)


@contextlib.contextmanager
def shared(work_per_rank: int) -> Iterator[None]:
    """Let ranks share the work of minibatches of at least this size, also of one sequence per rank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "WORK_PER_RANK", work_per_rank)
        patch.setattr(distributed, "LEAST", 1)
        yield


def train(name: str, folder: Path, reference: str, iterations: int = 2) -> dict[str, Any]:
    """Train one of RUNS and return its weights and what it logged."""
    env_id, settings = RUNS[name]
    if name == "next_step":
        join()
    algorithm, policy = settings.get("algorithm", "ppo"), settings.get("policy", "auto")
    config = preset(env_id or "CartPole-v1", algorithm, policy).replace(
        COMMON | settings | {"runs_dir": str(folder), "exp_name": name, "eval_episodes": 3}
    )
    config = config.replace({"total_timesteps": iterations * config.batch_size})
    if name in ("reference", "grpo"):  # in the rewards, and in the loss
        config = config.replace({"reference": reference, "init_from": reference})
    with Trainer(config, ending() if name == "next_step" else None) as trainer:
        rows = [progress.row for progress in trainer.iterations()]
        return result(trainer) | {"rows": rows, "shares": trainer.learner.shares}


def result(trainer: Trainer) -> dict[str, Any]:
    """Return what must be the same on any number of ranks, and what is this rank's own."""
    tensors = {name: x.cpu().clone() for name, x in trainer.parts.state_dict().items() if x.is_floating_point()}
    numbers = np.random.rand(), float(torch.rand(()))
    return {
        "tensors": tensors,
        "step": trainer.global_step,
        "numpy": numbers[0],
        "torch": numbers[1],
        "run": trainer.run_dir,
    }


def run_all(folder: Path, reference: str) -> dict[str, Any]:
    """Return the results of all runs, with the work of minibatches shared and not."""
    results: dict[str, Any] = {}
    for way, work in (("whole", 10**18), ("shared", 0)):
        with shared(work):
            for name in RUNS:
                results[f"{name} {way}"] = train(name, folder / way, reference)
    with shared(0):
        text = preset("text/Copy-v0", "ppo", "gru").replace(
            COMMON | TEXT | {"total_timesteps": 512, "runs_dir": str(folder), "exp_name": "pretrain"}
        )
        with Trainer(text) as trainer:
            perplexity = pretrain(trainer, patience=0).perplexity
            results["pretrain"] = result(trainer) | {"perplexity": perplexity}
    return results


def drift(folder: Path) -> str:
    """Return the error of ranks that no longer hold the same weights."""
    config = preset("CartPole-v1").replace(COMMON | CONTROL | {"total_timesteps": 256, "runs_dir": str(folder)})
    with Trainer(config) as trainer:
        trainer.policy.head  # noqa: B018
        trainer.learner.policy.vector[0] += rank() * 1e-7
        try:
            next(trainer.iterations())
        except UsageError as error:
            return str(error)
    return ""


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found = run_all(place, sys.argv[2])
    found["drift"] = drift(place / "drift")
    found["version"] = ppo.__version__
    torch.save(found, place / f"rank_{rank()}.pt")
    leave()
