"""Convolutions: the published networks, by the size of the image."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from ppo.envs.images import image_of
from ppo.policies.convolutions import ImpalaCNN, NatureCNN, Residual, SmallCNN, convolutions, num_outputs


@pytest.mark.parametrize(
    ("name", "shape", "kind", "features", "weights"),
    [
        ("cnn", (84, 84, 4), NatureCNN, 64 * 7 * 7, 8_224 + 32_832 + 36_928),
        ("cnn", (36, 36, 3), NatureCNN, 64, 6_176 + 32_832 + 36_928),
        ("cnn", (10, 10, 4), SmallCNN, 16 * 8 * 8, 592),
        ("cnn", (7, 7, 3), SmallCNN, 16 * 5 * 5, 448),
        ("cnn", (35, 84, 3), SmallCNN, 16 * 33 * 82, 448),
        # Three sections: one convolution, then four of residual blocks; the pooling halves 84 to 42, 21 and 11.
        ("impala", (84, 84, 4), ImpalaCNN, 32 * 11 * 11, 592 + 4 * 2_320 + 4_640 + 4 * 9_248 + 9_248 + 4 * 9_248),
        ("impala", (7, 7, 3), ImpalaCNN, 32, 448 + 4 * 2_320 + 4_640 + 4 * 9_248 + 9_248 + 4 * 9_248),
    ],
)
def test_an_image_is_read_by_the_published_network_for_its_size(name, shape, kind, features, weights):
    image = image_of(Box(0, 255, shape, np.uint8))
    network = convolutions(name, image)
    assert type(network) is kind
    assert num_outputs(network, image) == features
    assert sum(p.numel() for p in network.parameters()) == weights


def test_a_residual_block_adds_to_its_input():
    block, x = Residual(3), torch.randn(2, 3, 6, 5)
    nn.init.zeros_(block.second.weight)
    nn.init.constant_(block.second.bias, 0.5)
    torch.testing.assert_close(block(x), x + 0.5)
