"""Features: choices are one-hot, numbers may be normalised, images may be convolved, and a mask is not a feature."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st
from space_samples import any_space, random_obs
from torch import nn
from torch.nn import functional

from ppo.envs.images import Resized
from ppo.envs.spaces import Packer, one_line
from ppo.errors import UsageError
from ppo.policies import Features, build_policy
from ppo.policies.convolutions import NatureCNN, SmallCNN
from ppo.policies.features import describe_images

IMAGE = Box(0, 255, (36, 36, 3), np.uint8)
MIXED = Dict(place=Discrete(4, start=1), speed=Box(-1, 1, (2,)), more=Tuple([MultiDiscrete([2, 3]), MultiBinary(2)]))
MASKED = Dict(obs=Box(-1, 1, (3,)), action_mask=MultiBinary(4))


def features(space: gymnasium.Space, *obs: object, **options: bool) -> list[list[float]]:
    """Return the features of observations given one by one, each as a list, in the order of its numbers."""
    packed = Packer(space)(concatenate(space, obs, create_empty_array(space, len(obs))))
    return Features(space, **options)(packed.unsqueeze(0))[0][0].tolist()


@pytest.mark.parametrize(
    "space",
    [
        Discrete(7, start=-1),
        Dict(token=Discrete(7), action_mask=MultiBinary(4)),
        Dict(token=Discrete(7), action_mask=Tuple([MultiBinary(2), MultiBinary(3)])),
        MASKED,
        MIXED,
    ],
    ids=one_line,
)
def test_an_embedding_is_a_linear_layer_on_the_features(space):
    module, obs = Features(space), random_obs(space, 3, 4)
    layers = [nn.Linear(module.size, 5), nn.Linear(module.size, 6)]
    x, mask = module(obs)
    outputs, same_mask = module.embed(obs, layers)
    for output, layer in zip(outputs, layers, strict=True):
        torch.testing.assert_close(output, layer(x))
    assert (mask is None and same_mask is None) or torch.equal(mask, same_mask)


def test_a_token_is_looked_up_without_a_vector_as_long_as_the_vocabulary(monkeypatch):
    monkeypatch.setattr(functional, "one_hot", None)
    module, tokens = Features(Discrete(1000)), torch.randint(1000, (3, 4))
    layer = nn.Linear(module.size, 2)
    (x,), _ = module.embed(tokens, [layer])
    assert torch.equal(x, layer.weight.t()[tokens] + layer.bias)


def test_indices_become_one_hot():
    assert features(Discrete(3, start=-1), -1, 1) == [[1, 0, 0], [0, 0, 1]]
    space = MultiDiscrete([2, 3], start=[0, 5])
    assert features(space, np.array([1, 5]), np.array([0, 7])) == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    grid = MultiDiscrete([[2, 2], [1, 3]])
    assert features(grid, np.array([[1, 0], [0, 2]])) == [[0, 1, 1, 0, 1, 0, 0, 1]]


def test_bits_and_numbers_are_flattened_and_pixels_scaled():
    assert features(MultiBinary([2, 2]), np.array([[1, 0], [1, 1]], np.int8)) == [[1, 0, 1, 1]]
    assert features(Box(-9, 9, (2, 2)), np.array([[1, 2], [3, 4]], np.float32)) == [[1, 2, 3, 4]]
    assert features(Box(-9, 9, ()), np.array(2.5, np.float32)) == [[2.5]]
    assert features(Box(0, 255, (2,), np.uint8), np.array([0, 255], np.uint8)) == [[0, 1]]
    assert features(Box(0, 1, (2,), np.uint8), np.array([0, 1], np.uint8)) == [[0, 1]]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(any_space, st.booleans())
def test_size_is_the_width_of_the_features_of_any_space(space, normalize):
    module = Features(space, normalize)
    x, mask = module(random_obs(space, 2, 3))
    assert x.shape == (2, 3, module.size)
    assert x.dtype == torch.float32
    assert mask is None
    assert module.mask_size == 0


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_channel_orders_give_the_network_the_same_image(channels):
    wide = Box(0, 255, (40, 36, channels), np.uint8)
    tall = Box(0, 255, (channels, 40, 36), np.uint8)
    obs = random_obs(wide, 2, 3)
    last, first = Features(wide, conv="cnn"), Features(tall, conv="cnn")
    first.load_state_dict(last.state_dict())
    torch.testing.assert_close(last(obs)[0], first(obs.permute(0, 1, 4, 2, 3).contiguous())[0])


def test_convolutions_read_pixels_from_zero_to_one():
    space = Dict(eye=IMAGE, speed=Box(-1, 1, (1,)))
    module, obs = Features(space, conv="cnn"), random_obs(space, 1, 2)
    image, speed = module.packer.unpack(obs[0])
    expected = torch.cat([speed, module.images[0](image.permute(0, 3, 1, 2) / 255)], dim=-1)
    torch.testing.assert_close(module(obs)[0][0], expected)


@pytest.mark.parametrize(
    ("space", "factor"),
    [
        (Box(0, 255, (4, 40, 36), np.uint8), 1 / 255),
        (Box(0, 3, (4, 40, 36), np.uint8), 1 / 3),
        (Box(0, 1, (40, 36, 3), np.float32), 1),
        (Box(-4, 2, (40, 36), np.float64), 1 / 4),
        (Box(0, 1, (10, 10, 4), bool), 1),
        (Box(0, 255, (3, 40, 36, 1), np.uint8), 1 / 255),
    ],
    ids=str,
)
def test_the_largest_number_of_an_image_becomes_1(space, factor):
    module, obs = Features(space, conv="cnn"), random_obs(space, 2, 3)
    planes = module.layouts[0].planes(obs.flatten(0, 1)).float() * factor
    torch.testing.assert_close(module(obs)[0].flatten(0, 1), module.images[0](planes))


def test_each_image_has_convolutions_for_its_size_and_the_rest_stands_beside_them():
    space = Dict(big=IMAGE, grid=Box(0, 255, (7, 7, 3), np.uint8), letters=Box(0, 127, (9, 9, 80), np.uint8))
    module = Features(space, conv="cnn")
    assert [type(network) for network in module.images] == [NatureCNN, SmallCNN]
    assert module.size == 9 * 9 * 80 + 64 + 16 * 5 * 5
    assert module(random_obs(space, 2, 3))[0].shape == (2, 3, module.size)


def test_the_channels_of_a_small_image_of_codes_are_normalised():
    space = Dict(grid=Box(0, 255, (5, 5, 2), np.uint8), speed=Box(-9, 9, (1,)))
    module = Features(space, normalize=True, conv="cnn")
    grids = np.zeros((3, 5, 5, 2), np.uint8)
    grids[1, ..., 1], grids[2] = (
        4,
        99,
    )  # the second channel has the mean 2 and the deviation 2; the last row is not valid
    obs = module.packer({"grid": grids, "speed": np.float32([[1], [3], [99]])}).unsqueeze(0)
    module.update_statistics(obs, torch.tensor([[True, True, False]]))
    assert module.statistics["0"].mean.tolist() == [0, 2]
    assert module.normalizer.mean.tolist() == [2]
    planes = torch.zeros(2, 2, 5, 5)
    planes[0, 1], planes[1, 1] = -1, 1
    expected = torch.cat([torch.tensor([[-1.0], [1.0]]), module.images[0](planes)], dim=-1)
    torch.testing.assert_close(module(obs[:, :2])[0][0], expected)


def test_only_box_numbers_are_normalised():
    space = Dict(bits=MultiBinary(2), place=Discrete(3), speed=Box(-99, 99, (2,)))
    module = Features(space, normalize=True)
    rows = torch.tensor([[[1.0, 0, 2, 10, -1], [1, 1, 0, 30, 1], [0, 0, 1, 999, 999]]])
    module.update_statistics(rows, torch.tensor([[True, True, False]]))  # means 20 and 0, deviations 10 and 1
    assert module.normalizer.mean.tolist() == [20.0, 0.0]
    x = module(torch.tensor([[[1.0, 0, 2, 15, 3]]]))[0][0, 0].tolist()
    assert x == pytest.approx([-0.5, 3, 1, 0, 0, 0, 1])  # numbers first, then bits and one-hot places as they are


def test_a_lone_vector_is_normalised_by_its_valid_rows():
    module = Features(Box(-99, 99, (2,)), normalize=True)
    rows = torch.tensor([[[1.0, 10.0], [999, 999]], [[3, 30], [999, 999]]])
    module.update_statistics(rows, torch.tensor([[True, False], [True, False]]))
    torch.testing.assert_close(module(torch.tensor([[[4.0, 15.0]]]))[0], torch.tensor([[[2.0, -0.5]]]))


def test_a_large_image_that_goes_to_convolutions_is_not_normalised():
    module = Features(IMAGE, normalize=True, conv="cnn")
    assert module.normalizer is None
    assert not module.statistics


def test_an_action_mask_is_not_a_feature():
    space = Dict(action_mask=Tuple([MultiBinary(2), MultiBinary(3)]), obs=Box(-1, 1, (2,)))
    obs = {"action_mask": (np.array([1, 0], np.int8), np.array([0, 1, 1], np.int8)), "obs": np.float32([0.5, -0.5])}
    packed = Packer(space)(concatenate(space, [obs], create_empty_array(space, 1)))
    module = Features(space)
    x, mask = module(packed.unsqueeze(0))
    assert (module.size, module.mask_size) == (2, 5)
    assert x.tolist() == [[[0.5, -0.5]]]
    assert mask.tolist() == [[[True, False, False, True, True]]]
    with pytest.raises(UsageError, match="has only an action mask"):
        Features(Dict(action_mask=MultiBinary(2)))


@pytest.mark.parametrize(
    ("name", "space", "sentences"),
    [
        ("mlp", Box(0, 255, (40, 40, 3), np.uint8), ["(40, 40, 3) uint8 is read as flat numbers; --policy cnn, impala"]),
        ("mlp", Box(0, 1, (3, 3)), []),
        (
            "cnn", Dict(a=IMAGE, b=Box(0, 127, (9, 9, 80), np.uint8)),
            ["a (36, 36, 3) uint8 is read as 36 x 36 with 3 channels by the convolutions of Mnih et al. 2015",
             "b (9, 9, 80) uint8 is read as flat numbers: it has 80 channels, and an image at most 16"],
        ),
        ("cnn", Box(0, 1, (10, 10, 4), bool), ["(10, 10, 4) bool is read as 10 x 10 with 4 channels by the convolutions of Young"]),
        ("gru", Box(0, 255, (4, 84, 84, 1), np.uint8), ["(4, 84, 84, 1) uint8 is read as 4 frames of 84 x 84 with 1 channel by"]),
        ("impala", Box(0, 255, (120, 90), np.uint8), [
            "(120, 90) uint8 is read as 120 x 90 with 1 channel by the convolutions of Espeholt et al. 2018; --resize 84 makes it"
        ]),
        ("impala", Resized(Box(0, 255, (120, 90), np.uint8), 84), [
            "(120, 90) uint8 is read as 84 x 84 with 1 channel by the convolutions of Espeholt et al. 2018"
        ]),
    ],
    ids=str,
)  # fmt: skip
def test_a_sentence_says_how_each_image_is_read(name, space, sentences):
    found = describe_images(build_policy(name, space, Discrete(2), {}))
    assert len(found) == len(sentences)
    for sentence, begin in zip(found, sentences, strict=True):
        assert sentence.startswith(begin)
        assert ("--resize" in sentence) == ("--resize" in begin)
