"""The cnn policy: one trunk over convolved images and other numbers, for actor and critic."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from ppo.errors import UsageError
from ppo.policies.cnn import CNNPolicy, ImpalaPolicy

IMAGE = Box(0, 255, (36, 40, 3), np.uint8)


def test_values_and_actions_depend_on_the_image_and_on_the_numbers():
    torch.manual_seed(0)
    policy = CNNPolicy(Dict(eye=IMAGE, speed=Box(-1, 1, (1,))), Discrete(3), hidden_sizes=(16,))
    obs = torch.rand(1, 1, 36 * 40 * 3 + 1, requires_grad=True)
    dist, values, state = policy(obs, policy.initial_state(1), torch.zeros(1, 1, dtype=torch.bool))
    for output in (values.sum(), dist.log_probs[0, 0, 0]):
        (gradient,) = torch.autograd.grad(output, obs, retain_graph=True)
        assert gradient[..., -1].abs().item() > 0
        assert (gradient[..., :-1] != 0).float().mean() > 0.5
    assert state.shape == (1, 0)


def test_the_layer_after_the_convolutions_is_as_wide_as_in_their_paper_unless_it_is_set():
    grid = Box(0, 1, (10, 10, 4), bool)
    widths = [policy.trunk[0].out_features for policy in (
        CNNPolicy(IMAGE, Discrete(3)), CNNPolicy(grid, Discrete(3)), CNNPolicy(Dict(a=IMAGE, b=grid), Discrete(3)),
        ImpalaPolicy(grid, Discrete(3)), ImpalaPolicy(IMAGE, Discrete(3), hidden_sizes=(9, 7)),
    )]  # fmt: skip
    assert widths == [512, 128, 512, 256, 7]


def test_an_observation_without_an_image_is_refused():
    with pytest.raises(UsageError, match=r"needs an image .* use --policy mlp"):
        CNNPolicy(Box(0, 9, (36, 36, 3), np.int32), Discrete(3))
