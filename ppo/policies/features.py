"""Features: a packed observation of any space becomes what a network reads."""

from collections.abc import Iterable
from typing import Any

import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from torch import Tensor, nn
from torch.nn import functional as F

from ppo.envs.spaces import MASK_KEY, leaf_size, leaves, one_line, unpack
from ppo.errors import UsageError
from ppo.machine.operations import lookup
from ppo.policies.base import orthogonal
from ppo.policies.normalizer import RunningMeanStd

MIN_IMAGE = 36  # below it the three convolutions leave nothing


def is_image(leaf: Space) -> bool:
    """Say whether a leaf goes to convolutions: uint8 of rank 3 with both sides of at least 36 pixels."""
    if not (isinstance(leaf, Box) and leaf.dtype == "uint8" and len(leaf.shape) == 3):
        return False
    return min(_channels_first(leaf.shape)[1:]) >= MIN_IMAGE


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    # The channel axis is the short one: (C, H, W) if the first side is the shorter end, else (H, W, C).
    return shape if shape[0] < shape[-1] else (shape[-1], *shape[:-1])


def _rows(x: Tensor) -> Tensor:
    return x.reshape(*x.shape[:2], -1)  # (T, N, *shape) -> (T, N, F), also where the shape is ()


class NatureCNN(nn.Sequential):
    """Three convolutions of Mnih et al. (2015) over (M, C, H, W) in 0…1, flattened."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in ((shape[0], 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)):
            layers += [orthogonal(nn.Conv2d(inputs, outputs, kernel, stride)), nn.ReLU()]
        super().__init__(*layers, nn.Flatten())
        with torch.no_grad():
            self.out_features: int = self(torch.zeros(1, *shape)).shape[1]


class Features(nn.Module):
    """Map packed observations (T, N, *obs) to features (T, N, F) and the action mask (T, N, A), if there is one.

    Indices become one-hot, bits and numbers are flattened, images go through convolutions (`conv`) or are flattened
    too; features are in the order numbers, one-hot and bits, images. The key `action_mask` of a Dict is no feature.
    Running statistics (`normalize`) cover Box leaves of numbers.

    Args:
        obs_space: space of one observation.
        normalize: keep running statistics and normalise by them.
        conv: read images by convolutions.
    """

    def __init__(self, obs_space: Space, normalize: bool = False, conv: bool = False) -> None:
        super().__init__()
        self.space, self.conv = obs_space, conv
        found = list(leaves(obs_space))
        masks = [leaf_size(leaf) for path, leaf in found if self._is_mask(path)]
        self.mask_size = sum(masks)
        sizes: dict[str, int] = {"plain": 0, "numbers": 0}
        self.images = nn.ModuleList()
        for path, leaf in found:
            if self._is_mask(path):
                continue
            if conv and is_image(leaf):
                self.images.append(NatureCNN(_channels_first(leaf.shape)))  # type: ignore[arg-type]
            elif isinstance(leaf, Discrete):
                sizes["plain"] += int(leaf.n)
            elif isinstance(leaf, MultiDiscrete):
                sizes["plain"] += int(leaf.nvec.sum())
            else:
                sizes["numbers" if isinstance(leaf, Box) else "plain"] += leaf_size(leaf)
        if conv and not self.images:
            raise UsageError(
                f"the cnn policy needs an image (uint8, rank 3, sides of at least {MIN_IMAGE}) in the observation "
                f"space {one_line(obs_space)}; use --policy mlp"
            )
        self.normalizer = RunningMeanStd(sizes["numbers"]) if normalize and sizes["numbers"] else None
        self.size = sum(sizes.values()) + sum(image.out_features for image in self.images)  # type: ignore[misc]
        self.lone_vector = isinstance(obs_space, Box) and not self.images and obs_space.dtype != "uint8"
        parts = [(path, leaf) for path, leaf in found if not self._is_mask(path)]
        alone = len(parts) == 1 and isinstance(parts[0][1], Discrete)
        self.lone_index = parts[0][0] if alone else None
        if self.size == 0:
            raise UsageError(f"the observation space {obs_space} has nothing but a mask; add an observation")

    def _is_mask(self, path: str) -> bool:
        return isinstance(self.space, Dict) and path.split(".")[0] == MASK_KEY

    def _split(self, obs: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Sort the parts of packed obs (T, N, *obs) into numbers, plain features, images and masks."""
        numbers, plain, images, masks = [], [], [], []
        for path, leaf, x in unpack(self.space, obs):
            if self._is_mask(path):
                masks.append(_rows(x) > 0)
            elif self.conv and is_image(leaf):
                images.append(x if _channels_first(leaf.shape) == leaf.shape else x.movedim(-1, -3))  # type: ignore[arg-type]
            elif isinstance(leaf, Discrete):
                plain.append(F.one_hot(x.long(), int(leaf.n)).float())
            elif isinstance(leaf, MultiDiscrete):
                pairs = zip(_rows(x).long().unbind(-1), leaf.nvec.ravel(), strict=True)
                plain += [F.one_hot(column, int(n)).float() for column, n in pairs]
            elif isinstance(leaf, Box):
                pixels = leaf.dtype == "uint8" and self.normalizer is None
                numbers.append(_rows(x).float() / 255 if pixels else _rows(x).float())
            else:
                plain.append(_rows(x).float())
        return numbers, plain, images, masks

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return features (T, N, F) and the mask (T, N, A) bool or None."""
        if self.lone_vector:  # the common case, on the path of every step
            x = _rows(obs)
            return (x if self.normalizer is None else self.normalizer(x)), None
        numbers, plain, images, masks = self._split(obs)
        if self.normalizer is not None:
            numbers = [self.normalizer(torch.cat(numbers, dim=-1))]
        convolved = [
            net(x.flatten(0, 1).float() / 255).unflatten(0, x.shape[:2])
            for net, x in zip(self.images, images, strict=True)
        ]
        return torch.cat(numbers + plain + convolved, dim=-1), torch.cat(masks, dim=-1) if masks else None

    def embed(self, obs: Tensor, layers: Iterable[Any]) -> tuple[list[Tensor], Tensor | None]:
        """Return what each linear layer (F → W) makes of the features, (T, N, W) each, and the mask as `forward` does.

        Where all there is is one index, that is a column of the layer's weights, looked up: no vector of zeros as long
        as the vocabulary.
        """
        if self.lone_index is None:
            x, mask = self(obs)
            return [layer(x) for layer in layers], mask
        found = {path: x for path, _, x in unpack(self.space, obs)}
        index = found.pop(self.lone_index).long()
        masks = [_rows(x) > 0 for x in found.values()]
        columns = [lookup(index, layer.weight.t()) + layer.bias for layer in layers]
        return columns, torch.cat(masks, dim=-1) if masks else None

    def update_statistics(self, obs: Tensor, valid: Tensor) -> None:
        """Take the valid rows of packed obs (T, N, *obs) into the running statistics, if there are any."""
        if self.normalizer is not None:
            self.normalizer.update(torch.cat(self._split(obs)[0], dim=-1)[valid])
