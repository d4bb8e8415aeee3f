"""Images: which arrays of numbers are images, how their axes lie, and how packing makes a large one smaller."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor
from torch.nn import functional

from ppo.numbers import count

LARGE = 36  # pixels of the shorter side; below it, nothing is left after the three convolutions of Mnih et al. (2015)
SMALL = 5  # below it, a 3 × 3 convolution sees almost the whole array at once
MAX_CHANNELS = (
    16  # of numbers; more are codes, such as the letters of a screen. A board may have any number of bit planes
)
RANKS = (2, 3, 4)  # of an image
WIDEST = 1e6  # wider bounds are the limits of a number type


@dataclass(frozen=True)
class Image:
    """The layout of an array that is an image: (H, W), (H, W, C), (C, H, W), or several frames of one of the latter two."""

    rank: int  # of the array
    frames: int
    channels: int  # of a frame
    height: int
    width: int
    channels_last: bool
    largest: float  # the number that becomes 1

    @property
    def is_large(self) -> bool:
        """Whether three convolutions with strides can read it."""
        return min(self.height, self.width) >= LARGE

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) with the channels of all frames side by side."""
        return self.frames * self.channels, self.height, self.width

    @property
    def array_shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return {2: self._axes[1:3], 3: self._axes[1:], 4: self._axes}[self.rank]

    @property
    def _axes(self) -> tuple[int, ...]:
        sides = (self.height, self.width)
        return (self.frames, *sides, self.channels) if self.channels_last else (self.frames, self.channels, *sides)

    def planes(self, x: Tensor) -> Tensor:
        """Return arrays (M, *array_shape) as (M, C, H, W)."""
        x = x.reshape(x.shape[0], *self._axes)
        return (x.movedim(-1, 2) if self.channels_last else x).flatten(1, 2)

    def resized(self, side: int) -> "Image":
        """Return the layout after both sides have become `side`."""
        return replace(self, height=side, width=side)

    def resize(self, x: Tensor, side: int) -> Tensor:
        """Return arrays (M, *array_shape) with smaller images: bilinear, averaged over all that a new pixel covers."""
        # On the CPU, bytes take an eighth of the time of floats; on a GPU, torch has only floats.
        planes = self.planes(x) if x.dtype == torch.uint8 and x.device.type == "cpu" else self.planes(x).float()
        small = functional.interpolate(planes, (side, side), mode="bilinear", antialias=True)
        small = small if small.dtype == x.dtype else (small if x.is_floating_point() else small.round()).to(x.dtype)
        small = small.unflatten(1, (self.frames, self.channels))  # (M, F, C, side, side)
        small = small.movedim(2, -1) if self.channels_last else small
        return small.reshape(x.shape[0], *self.resized(side).array_shape)

    def __str__(self) -> str:
        frames = f"{self.frames} frames of " * (self.frames > 1)
        return f"{frames}{self.height} x {self.width} with {self.channels} channel{'s' * (self.channels > 1)}"


def image_of(space: Box) -> Image | None:
    """Return the layout of a Box whose arrays are images: pixels (uint8), bits, or floats with bounds; None for others.

    Of the first and the last axis, the channels are the one that leaves a square, or else the shorter one. Without an axis of
    channels both sides must be large, because small tables of numbers have two axes as well.
    """
    image = _layout(space)
    return None if image is None or _misfit(image, space) else image


def why_no_image(space: Box) -> str:
    """Return in words why the arrays of a Box are not images; "" if they are."""
    if len(space.shape) not in RANKS:
        return f"it has {count(len(space.shape), 'axis', 'axes')}, and an image has 2 to 4"
    image = _layout(space)
    if image is None:
        kind = f"{space.dtype} without bounds" if np.issubdtype(space.dtype, np.floating) else str(space.dtype)
        return f"it is {kind}, and an image is uint8, bool, or floats with bounds"
    return _misfit(image, space)


def _layout(space: Box) -> Image | None:
    """Return the likeliest layout of an array with the number of axes and the dtype of images; None for other arrays."""
    largest, rank = _largest(space), len(space.shape)
    if largest is None or rank not in RANKS:
        return None
    frames = space.shape[0] if rank == 4 else 1
    a, b, c = space.shape[-3:] if rank > 2 else (*space.shape, 1)
    layouts = [Image(rank, frames, c, a, b, True, largest)]
    layouts += [Image(rank, frames, a, b, c, False, largest)] * (rank > 2)
    return min(layouts, key=lambda x: (x.height != x.width, x.channels, not x.channels_last))


def _misfit(image: Image, space: Box) -> str:
    """Return in words why an array with this layout is not an image; "" if it is."""
    least = SMALL if image.rank > 2 else LARGE
    if image.frames > MAX_CHANNELS:
        return f"it has {image.frames} frames, and an image at most {MAX_CHANNELS}"
    if image.channels > MAX_CHANNELS and space.dtype != np.bool_:
        return f"it has {image.channels} channels, and an image at most {MAX_CHANNELS}"
    if min(image.height, image.width) < least:
        grey = "" if image.rank > 2 else "without channels "
        return f"it is {image.height} x {image.width}, and an image {grey}at least {least} x {least}"
    return ""


def largest_pixel(space: Box) -> float:
    """Return the largest number of an array of bytes or bits, by its bounds: 255, or 1 of a board of zeros and ones."""
    return max(1.0, float(space.high.max(initial=0)))


def _largest(space: Box) -> float | None:
    if space.dtype in (np.uint8, np.bool_):
        return largest_pixel(space)
    if not np.issubdtype(space.dtype, np.floating):
        return None
    bound = float(max(np.abs(space.low).max(initial=0), np.abs(space.high).max(initial=0)))
    return bound if 0 < bound < WIDEST else None


class Resized(Box):
    """An image of the environment that packing makes smaller.

    Args:
        box: the environment's space, an image.
        side: height and width of the smaller image.
    """

    def __init__(self, box: Box, side: int) -> None:
        super().__init__(box.low, box.high, box.shape, box.dtype.type)
        self.side = side

    def __repr__(self) -> str:
        return f"{super().__repr__()} resized to {self.side} x {self.side}"

    def __eq__(self, other: Any) -> bool:
        return super().__eq__(other) and self.side == getattr(other, "side", None)
