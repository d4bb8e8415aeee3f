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

from ppo.envs.leaves import leaf_of
from ppo.envs.spaces import Packer, one_line
from ppo.errors import UsageError
from ppo.policies import Features, build_policy
from ppo.policies.features import flat_images, is_image

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
    last, first = Features(wide, conv=True), Features(tall, conv=True)
    first.load_state_dict(last.state_dict())
    torch.testing.assert_close(last(obs)[0], first(obs.permute(0, 1, 4, 2, 3).contiguous())[0])


def test_convolutions_read_pixels_from_zero_to_one():
    space = Dict(eye=IMAGE, speed=Box(-1, 1, (1,)))
    module, obs = Features(space, conv=True), random_obs(space, 1, 2)
    image = obs[0, :, : 36 * 36 * 3].reshape(2, 36, 36, 3).permute(0, 3, 1, 2) / 255
    expected = torch.cat([obs[0, :, -1:], module.images[0](image)], dim=-1)
    torch.testing.assert_close(module(obs)[0][0], expected)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Box(0, 255, (36, 36, 3), np.uint8), True),
        (Box(0, 255, (4, 84, 84), np.uint8), True),
        (Box(0, 255, (35, 84, 3), np.uint8), False),
        (Box(0, 255, (3, 84, 35), np.uint8), False),
        (Box(0, 1, (84, 84, 3), np.float32), False),
        (Box(0, 255, (84, 84), np.uint8), False),
        (MultiBinary([3, 84, 84]), False),
    ],
)
def test_an_image_is_uint8_of_rank_three_and_large_enough(space, expected):
    assert is_image(leaf_of(space)) is expected


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


def test_an_image_that_goes_to_convolutions_is_not_normalised():
    assert Features(IMAGE, normalize=True, conv=True).normalizer is None


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
    ("name", "space", "images"),
    [
        ("mlp", Box(0, 255, (40, 40, 3), np.uint8), "(40, 40, 3) uint8"),
        ("cnn", Box(0, 255, (40, 40, 3), np.uint8), ""),
        ("mlp", Dict(a=Box(0, 255, (9, 9), np.uint8), b=Box(0, 1, (3, 3))), "a (9, 9) uint8"),
        ("cnn", Dict(a=Box(0, 255, (40, 40, 3), np.uint8), b=Box(0, 1, (40, 40, 3))), "b (40, 40, 3) float32"),
        ("mlp", Box(0, 1, (3, 3)), ""),
    ],
)
def test_images_that_no_convolution_reads_are_named(name, space, images):
    sentence = flat_images(space, build_policy(name, space, Discrete(2), {}))
    assert sentence.startswith(f"{images} is read as flat numbers") if images else sentence == ""
