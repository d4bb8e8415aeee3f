"""Images: an array is an image or not by its space alone, and its axes are put in one order."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from ppo.envs.images import Image, Resized, image_of, why_no_image

INF = np.inf


def pixels(*shape, high=255, dtype=np.uint8):
    return Box(0, high, shape, dtype)


@pytest.mark.parametrize(
    ("space", "layout"),
    [  # frames, channels of a frame, height, width, whether the channels are last
        (pixels(210, 160, 3), (1, 3, 210, 160, True)),
        (pixels(3, 210, 160), (1, 3, 210, 160, False)),
        (pixels(84, 84, 4), (1, 4, 84, 84, True)),
        (pixels(4, 84, 84), (1, 4, 84, 84, False)),
        (pixels(4, 84, 84, 3), (4, 3, 84, 84, True)),  # frame stacks
        (pixels(4, 84, 84, 1), (4, 1, 84, 84, True)),
        (pixels(4, 3, 96, 84), (4, 3, 96, 84, False)),
        (pixels(84, 84), (1, 1, 84, 84, True)),  # grey
        (pixels(84, 84, high=1, dtype=np.float32), (1, 1, 84, 84, True)),
        (pixels(96, 96, 3, high=1, dtype=np.float32), (1, 3, 96, 96, True)),
        (pixels(10, 10, 4, high=1, dtype=bool), (1, 4, 10, 10, True)),  # MinAtar
        (pixels(10, 10, 10, high=1, dtype=bool), (1, 10, 10, 10, True)),
        (pixels(8, 8, 111, high=1, dtype=bool), (1, 111, 8, 8, True)),  # chess
        (pixels(7, 7, 3), (1, 3, 7, 7, True)),  # MiniGrid
        (pixels(3, 5, 6), (1, 3, 5, 6, False)),
    ],
    ids=str,
)
def test_an_image_is_understood_by_its_space(space, layout):
    image = image_of(space)
    assert (image.frames, image.channels, image.height, image.width, image.channels_last) == layout
    assert image.array_shape == space.shape
    assert image.is_large == (min(image.height, image.width) >= 36)


@pytest.mark.parametrize(
    "space",
    [
        pixels(21, 79, 80, high=127),  # NLE: the letters that describe each cell
        pixels(21, 79),  # NLE: the letters of its screen
        Box(0, 5976, (21, 79), np.int16),
        pixels(84, 84, 17),  # more channels than pixels have
        pixels(17, 84, 84, 1),
        Box(-INF, INF, (84, 84, 3)),  # numbers without bounds
        Box(-3.4e38, 3.4e38, (84, 84, 3), np.float32),
        pixels(35, 84, high=1, dtype=np.float32),
        pixels(4, 84, 3),  # a side below 5
        Box(0, 1, (6, 7, 2), np.int8),
        pixels(128),
        Box(0, 1, ()),
        pixels(2, 2, 84, 84, 3),
    ],
    ids=str,
)
def test_what_is_not_an_image_is_not_taken_for_one(space):
    assert image_of(space) is None
    assert why_no_image(space)


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (pixels(84, 84, 3), ""),
        (pixels(128), "it has 1 axis, and an image has 2 to 4"),
        (Box(0, 9, (21, 79), np.int16), "it is int16, and an image is uint8, bool, or floats with bounds"),
        (
            Box(-INF, INF, (84, 84, 3)),
            "it is float32 without bounds, and an image is uint8, bool, or floats with bounds",
        ),
        (pixels(84, 84, 17), "it has 17 channels, and an image at most 16"),
        (pixels(17, 84, 84, 1), "it has 17 frames, and an image at most 16"),
        (pixels(4, 84, 3), "it is 4 x 84, and an image at least 5 x 5"),
        (pixels(21, 79), "it is 21 x 79, and an image without channels at least 36 x 36"),
    ],
    ids=str,
)
def test_the_rule_that_an_array_breaks_is_named(space, why):
    assert why_no_image(space) == why


@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (2, 3, 5, 6), (5, 6, 3), (3, 5, 6)], ids=str)
def test_planes_are_the_channels_of_all_frames(shape):
    image, x = image_of(pixels(*shape)), torch.arange(2 * int(np.prod(shape))).view(2, *shape)
    planes = image.planes(x)
    assert planes.shape == (2, *image.shape)
    for frame in range(image.frames):
        for channel in range(3):
            part = x[:, frame] if len(shape) == 4 else x
            expected = part[..., channel] if image.channels_last else part[:, channel]
            assert torch.equal(planes[:, 3 * frame + channel], expected)


@pytest.mark.parametrize("shape", [(2, 40, 60, 3), (2, 3, 40, 60), (40, 60, 3), (3, 40, 60), (40, 60)], ids=str)
def test_a_smaller_image_has_the_same_layout_and_picture(shape):
    image = image_of(pixels(*shape))
    x = torch.zeros(2, *image.shape, dtype=torch.uint8)
    x[..., 30:] = torch.arange(image.shape[0]).view(1, -1, 1, 1).to(torch.uint8) * 40  # the right half, by channel
    arrays = x.unflatten(1, (image.frames, image.channels))
    arrays = (arrays.movedim(2, -1) if image.channels_last else arrays).reshape(2, *shape)
    assert torch.equal(image.planes(arrays), x)
    small = image.resize(arrays, 10)
    assert small.dtype == torch.uint8
    assert small.shape[1:] == image.resized(10).array_shape
    planes = image.resized(10).planes(small)
    assert planes[0, :, 5, 0].tolist() == [0] * image.shape[0]
    assert planes[0, :, 5, 9].tolist() == [40 * n for n in range(image.shape[0])]


def test_floats_are_averaged_without_rounding():
    image = Image(2, 1, 1, 4, 4, True, 1.0)
    assert image.resize(torch.full((1, 4, 4), 0.3), 2).tolist() == [[[pytest.approx(0.3)] * 2] * 2]


def test_a_resized_space_is_the_box_of_the_environment_and_names_the_side():
    box = pixels(60, 80, 3)
    space = Resized(box, 40)
    assert (space.shape, space.dtype) == (box.shape, box.dtype)
    assert space.contains(box.sample())
    assert space == Resized(box, 40)
    assert space != Resized(box, 41)
    assert str(space) == "Box(0, 255, (60, 80, 3), uint8) resized to 40 x 40"
