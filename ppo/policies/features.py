"""Features: a packed observation of any space becomes the input of a network."""

from collections.abc import Iterable
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from ppo.envs.fits import MASK_KEY
from ppo.envs.leaf import Leaf
from ppo.envs.spaces import Packer, leaves, mask_columns, one_line
from ppo.errors import UsageError
from ppo.policies.base import orthogonal
from ppo.policies.normalizer import RunningMeanStd

MIN_IMAGE = 36  # pixels; below it, nothing is left after the three convolutions
GROUPS = ("mask", "numbers", "plain", "image")


def is_image(leaf: Leaf) -> bool:
    """Return whether convolutions can read a leaf: pixels of rank 3, both sides at least 36."""
    return leaf.is_pixels and len(leaf.shape) == 3 and min(_channels_first(leaf.shape)[1:]) >= MIN_IMAGE


def flat_images(space: Space[Any], policy: nn.Module) -> str:
    """Return a sentence about the images that a policy reads as flat numbers; "" if there is none."""
    convolves = any(isinstance(module, nn.Conv2d) for module in policy.modules())
    images = [
        f"{path + ' ' if path else ''}{leaf.shape} {leaf.dtype}"
        for path, leaf in leaves(space)
        if (len(leaf.shape) == 3 and leaf.is_real) or (len(leaf.shape) == 2 and leaf.is_pixels)
        if not (convolves and is_image(leaf))
    ]
    needs = f"convolutions need --policy cnn or gru, uint8, three axes, and both sides at least {MIN_IMAGE}"
    return f"{', '.join(images)} is read as flat numbers; {needs}" if images else ""


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    # The channel axis is the short one: (C, H, W) if the first side is the shorter end, else (H, W, C).
    return shape if shape[0] < shape[-1] else (shape[-1], *shape[:-1])


def _allowed(mask: Tensor) -> Tensor:
    return mask.reshape(*mask.shape[:2], -1) > 0  # (T, N, A)


def _join(columns: list[Tensor]) -> Tensor:
    return columns[0].contiguous() if len(columns) == 1 else torch.cat(columns, dim=-1)


class NatureCNN(nn.Sequential):
    """Three convolutions (Mnih et al. 2015) over images (M, C, H, W) with pixels from 0 to 1, flattened."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in ((shape[0], 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)):
            layers += [orthogonal(nn.Conv2d(inputs, outputs, kernel, stride)), nn.ReLU()]
        super().__init__(*layers, nn.Flatten())
        with torch.no_grad():
            self.out_features: int = self(torch.zeros(1, *shape)).shape[1]


class Features(nn.Module):
    """Map packed observations (T, N, *obs) to features (T, N, F) and the action mask (T, N, A), if there is one.

    Features are in the order numbers, one-hot choices and bits, images. Images go through convolutions (`conv`), or are
    numbers as well. Running statistics (`normalize`) cover the numbers. The key `action_mask` of a Dict is not a feature.

    Args:
        obs_space: space of one observation.
        normalize: keep running statistics and normalise by them.
        conv: read images by convolutions.

    Raises:
        UsageError: there is nothing to read, or no image to convolve.
    """

    def __init__(self, obs_space: Space[Any], normalize: bool = False, conv: bool = False) -> None:
        super().__init__()
        self.packer = Packer(obs_space)
        self.groups: list[str] = []  # of each leaf
        sizes = dict.fromkeys(GROUPS, 0)
        masked = mask_columns(obs_space) is not None
        self.images = nn.ModuleList()
        for path, leaf in self.packer.leaves:
            if masked and path.split(".")[0] == MASK_KEY:
                group, size = "mask", leaf.size
            elif conv and is_image(leaf):
                self.images.append(network := NatureCNN(_channels_first(leaf.shape)))
                group, size = "image", network.out_features
            else:
                group, size = "numbers" if leaf.is_real else "plain", leaf.num_features
            self.groups.append(group)
            sizes[group] += size
        if conv and not self.images:
            raise UsageError(
                f"the cnn policy needs an image (uint8, rank 3, sides of at least {MIN_IMAGE}) in the observation "
                f"space {one_line(obs_space)}; use --policy mlp"
            )
        self.mask_size = sizes.pop("mask")
        self.size = sum(sizes.values())
        if self.size == 0:
            raise UsageError(f"the observation space {obs_space} has only an action mask; add an observation")
        self.normalizer = RunningMeanStd(sizes["numbers"]) if normalize and sizes["numbers"] else None
        features = [n for n, group in enumerate(self.groups) if group != "mask"]
        self.lone = features[0] if len(features) == 1 and not self.images else None  # the only leaf that is read

    def _split(self, obs: Tensor) -> dict[str, list[Tensor]]:
        """Return what packed obs (T, N, *obs) hold of each group: images as (T, N, C, H, W), the rest as (T, N, F)."""
        columns: dict[str, list[Tensor]] = {group: [] for group in GROUPS}
        for group, (_, leaf), x in zip(self.groups, self.packer.leaves, self.packer.unpack(obs), strict=True):
            if group == "image":
                x = x if _channels_first(leaf.shape) == leaf.shape else x.movedim(-1, -3)
            elif group == "mask":
                x = _allowed(x)
            else:
                x = leaf.features(x, scale=self.normalizer is None)
            columns[group].append(x)
        return columns

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return features (T, N, F) and the mask (T, N, A) bool or None."""
        if self.lone is not None and not self.packer.nested:  # there is nothing to split or join
            x = self.packer.leaves[0][1].features(obs, self.normalizer is None)
            return (x if self.normalizer is None else self.normalizer(x)), None
        columns = self._split(obs)
        numbers = columns["numbers"]
        if self.normalizer is not None:
            numbers = [self.normalizer(_join(numbers))]
        convolved = [
            network(x.flatten(0, 1).float() / 255).unflatten(0, x.shape[:2])
            for network, x in zip(self.images, columns["image"], strict=True)
        ]
        mask = _join(columns["mask"]) if columns["mask"] else None
        return _join(numbers + columns["plain"] + convolved), mask

    def embed(self, obs: Tensor, layers: Iterable[Any]) -> tuple[list[Tensor], Tensor | None]:
        """Return the output of each linear layer (F → W) on the features, (T, N, W) each, and the mask as `forward` does.

        A lone index is looked up in the layers' weights instead of becoming a one-hot vector as long as a vocabulary.
        """
        if self.lone is None or self.normalizer is not None:
            x, mask = self(obs)
            return [layer(x) for layer in layers], mask
        columns = self.packer.unpack(obs)
        outputs = self.packer.leaves[self.lone][1].embed(columns.pop(self.lone), layers)
        return outputs, _join([_allowed(x) for x in columns]) if columns else None

    def update_statistics(self, obs: Tensor, valid: Tensor) -> None:
        """Update the running statistics, if there are any, by the valid rows of packed obs (T, N, *obs)."""
        if self.normalizer is not None:
            self.normalizer.update(_join(self._split(obs)["numbers"])[valid])
