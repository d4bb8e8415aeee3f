"""A GPU trains as the processor does: graphs are eager, bfloat16 is near float32, a resumed run is the uninterrupted one.

    python -m pytest -m cuda

RANKS_DEVICE=cpu runs the same tests on the processor, to see that they work.
"""

import os

import gymnasium
import numpy as np
import pytest
import ranks
import torch
from gymnasium.spaces import Box, Discrete
from test_distributed import distance, launch

from ppo import Trainer, preset
from ppo.evaluation import evaluate

DEVICE = os.environ.get("RANKS_DEVICE", "cuda")
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SETTINGS = ranks.CONTROL | {"device": DEVICE, "num_steps": 16, "checkpoint_every": 2, "eval_episodes": 2}


class Frames(gymnasium.Env):
    """Frames of noise, brighter on the right if action 1 pays."""

    observation_space, action_space = Box(0, 255, (36, 36, 1), np.uint8), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._frame(), {}

    def step(self, action):
        self.steps += 1
        reward = float(action == self.side)
        return self._frame(), reward, self.steps == 8, False, {}

    def _frame(self):
        self.side = int(self.np_random.integers(2))
        frame = self.np_random.integers(0, 100, (36, 36, 1), np.uint8)
        frame[:, 18 * self.side : 18 * self.side + 18] += 100
        return frame


gymnasium.register("Frames-v0", entry_point=Frames)
CASES = {"mlp": "CartPole-v1", "gru": "CartPole-v1", "cnn": "Frames-v0"}


def trained(folder, policy, iterations=2, **settings):
    """Return a trainer after some iterations."""
    config = preset(CASES[policy], "ppo", policy).replace(SETTINGS | {"runs_dir": str(folder)} | settings)
    trainer = Trainer(config.replace({"total_timesteps": iterations * config.batch_size}))
    with trainer:
        trainer.train()
    return trainer


def tensors(trainer):
    return ranks.result(trainer)["tensors"]


@pytest.mark.parametrize("policy", CASES)
def test_the_policy_is_on_the_device_and_graphs_are_eager(tmp_path, policy):
    eager, graphs = (trained(tmp_path, policy, compile=compile) for compile in ("off", "on"))
    assert eager.learner.policy.vector.device.type == DEVICE
    assert graphs.parts.notes() == ()
    assert distance(tensors(eager), tensors(graphs)) < 1e-3


@pytest.mark.parametrize("compile", ["off", "on"])
@pytest.mark.parametrize("policy", CASES)
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path, policy, compile):
    first, straight = (trained(tmp_path, policy, n, compile=compile, anneal_lr=False) for n in (2, 4))
    with Trainer.resume(first.run_dir, {"total_timesteps": straight.config.total_timesteps}) as resumed:
        resumed.train()
    ends = tensors(straight)
    assert tensors(resumed).keys() == ends.keys()
    assert [name for name, x in tensors(resumed).items() if not torch.equal(x, ends[name])] == []


def test_the_processor_beside_a_device_is_not_compiled_for(tmp_path):
    notes = trained(tmp_path, "mlp", device="cpu", compile="on").parts.notes()
    assert bool(notes) == (DEVICE == "cuda")


@pytest.mark.parametrize("policy", CASES)
def test_a_run_is_evaluated_and_goes_on_elsewhere(tmp_path, policy):
    run = trained(tmp_path, policy)
    assert evaluate(run.run_dir, 2).episodes
    longer = {"device": "cpu", "total_timesteps": 2 * run.config.total_timesteps}
    with Trainer.resume(run.run_dir, longer) as resumed:
        resumed.train()
    assert resumed.finished
    assert resumed.learner.policy.vector.device.type == "cpu"


@pytest.mark.parametrize("policy", ["mlp", "cnn"])
def test_bfloat16_is_near_float32(tmp_path, policy):
    settings = {"iterations": 1, "update_epochs": 1}
    exact, rounded = (trained(tmp_path, policy, precision=p, **settings) for p in ("float32", "bfloat16"))
    vectors = [trainer.learner.policy.vector.double().cpu() for trainer in (exact, rounded)]
    assert 0 < float((vectors[0] - vectors[1]).norm() / vectors[0].norm()) < 0.05


@pytest.mark.skipif(DEVICE == "cuda" and torch.cuda.device_count() < 2, reason="there are fewer than two CUDA devices")
def test_two_ranks_with_a_device_each_are_one(tmp_path):
    config = preset("text/Copy-v0", "ppo", "gru").replace(
        ranks.COMMON | ranks.TEXT | {"seed": 7, "runs_dir": str(tmp_path)}
    )
    with Trainer(config) as trainer:
        trainer.save(finished=True)
    ends = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        launch(number, tmp_path / str(number), str(trainer.run_dir), {"RANKS_DEVICE": DEVICE})
        ends.append(torch.load(tmp_path / str(number) / "rank_0.pt", weights_only=False))
    for name in ranks.RUNS:
        assert distance(*(end[f"{name} shared"]["tensors"] for end in ends)) < 1e-3, name
