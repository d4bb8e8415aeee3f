"""Resizing: the policy reads smaller images, and takes the environment's own in training, evaluation and after export."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from silent import Silent

from ppo import Config, Trainer, UsageError, evaluate, load_policy
from ppo.envs.resize import Resize, resized
from ppo.envs.spaces import Packer

NEXT = {"autoreset_mode": "NextStep"}
FRAME = Box(0, 255, (60, 80, 3), np.uint8)


class Camera(gymnasium.Env):
    """Frames of noise, and a speed."""

    observation_space, action_space = Dict(eye=FRAME, speed=Box(-1, 1, (2,))), Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


def test_packing_makes_larger_images_smaller_and_leaves_the_rest():
    space = Tuple(
        [FRAME, Dict(small=Box(0, 255, (7, 7, 3), np.uint8), bits=MultiBinary(2), codes=Box(0, 9, (60, 60), int))]
    )
    sides = {path: leaf.packed_shape for path, leaf in Packer(resized(space, 40)).leaves}
    assert sides == {"0": (40, 40, 3), "1.small": (7, 7, 3), "1.bits": (2,), "1.codes": (60, 60)}


def test_packed_images_are_those_that_were_made_smaller():
    frames = np.zeros((2, 60, 80, 3), np.uint8)
    frames[1] = 200
    for given in (frames, torch.from_numpy(frames)):
        packed = Packer(resized(FRAME, 40))(given)
        assert packed.dtype == torch.uint8
        assert packed.flatten(1).unique(dim=1).tolist() == [[0], [200]]
        assert packed.shape == (2, 40, 40, 3)


@pytest.mark.parametrize(
    "space", [Box(-1, 1, (3,)), Box(0, 255, (84, 84, 4), np.uint8), Box(0, 9, (99, 99, 3), int)], ids=str
)
def test_resizing_what_is_not_a_larger_image_is_refused(space):
    envs = Silent(NEXT)
    envs.single_observation_space = space
    with pytest.raises(
        UsageError, match=r"resize = 84 has no effect: .* has no image larger than 84 x 84; leave out resize"
    ):
        Resize(envs, 84)


def test_an_image_that_is_too_small_for_convolutions_is_refused():
    envs = Silent(NEXT)
    envs.single_observation_space = FRAME
    with pytest.raises(UsageError, match="resize = 4 is too small; choose 5 or more"):
        Resize(envs, 4)


def test_a_run_with_resized_images_evaluates_and_plays_on_the_environments_own(tmp_path, monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Camera-v0", EnvSpec("Camera-v0", Camera, max_episode_steps=3))
    sizes = {"num_envs": 2, "num_steps": 4, "num_minibatches": 1, "update_epochs": 1, "total_timesteps": 8}
    config = Config(
        "Camera-v0", runs_dir=tmp_path, resize=40, eval_episodes=0, compile="off", vectorization="sync", **sizes
    )
    with Trainer(config) as trainer:
        assert trainer.collector.packer.row_bytes == 8 + 40 * 40 * 3
        run = trainer.train()
    assert evaluate(run, 1).mean == 3
    player, obs = load_policy(run), Camera().reset(seed=0)[0]
    action, _ = player.act(obs)
    assert 0 <= action < 3
    assert player.obs_space == Dict(eye=resized(FRAME, 40), speed=Box(-1, 1, (2,)))
    assert Trainer.resume(run, {"total_timesteps": 16}).config.resize == 40
