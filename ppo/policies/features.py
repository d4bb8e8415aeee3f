"""Features: a packed observation of any space becomes the input of a network."""

from collections.abc import Iterable
from typing import Any

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor, nn

from ppo.envs.critic_key import actor_space, critic_leaves
from ppo.envs.images import Image, why_no_image
from ppo.envs.spaces import Packer, one_line
from ppo.errors import UsageError
from ppo.policies.convolutions import convolutions, num_outputs
from ppo.policies.normalizer import RunningMeanStd

WIDE = 100  # pixels; a larger image is usually made smaller first
GROUPS = ("mask", "numbers", "plain", "image")


def describe_images(policy: nn.Module) -> list[str]:
    """Return a sentence for each image that a policy's features read: how, or that it is flat numbers to them."""
    features = getattr(policy, "features", None)
    if not isinstance(features, Features):
        return []
    convolves = any(isinstance(module, nn.Conv2d) for module in policy.modules())
    parts = [features] if features.critic is None else [features, features.critic]
    return [sentence for part in parts for sentence in _describe(part, convolves)]


def _describe(features: "Features", convolves: bool) -> list[str]:
    sentences, networks = list[str](), iter(features.images)
    for (path, leaf), group in zip(features.leaves, features.groups, strict=True):
        text = f"{path + ' ' if path else ''}{leaf.shape} {leaf.dtype} is read as"
        if group == "image" and leaf.image is not None:
            wide = leaf.shape == leaf.packed_shape and max(leaf.image.shape[1:]) > WIDE
            hint = "; --resize 84 makes it smaller, as is usual" * wide
            sentences.append(f"{text} {leaf.image} by the convolutions of {next(networks).source}{hint}")
        elif convolves and leaf.image is not None:
            continue  # a network of the user's own may read it
        elif leaf.is_real and (len(leaf.shape) > 2 or (len(leaf.shape) == 2 and leaf.is_pixels)):
            why = why_no_image(leaf.space)
            sentences.append(
                f"{text} flat numbers{f': {why}' if why else '; --policy cnn, impala, gru and transformer read images'}"
            )
    return sentences


def _allowed(mask: Tensor) -> Tensor:
    return mask.reshape(*mask.shape[:2], -1) > 0  # (T, N, A)


def _join(columns: list[Tensor]) -> Tensor:
    return columns[0].contiguous() if len(columns) == 1 else torch.cat(columns, dim=-1)


class Features(nn.Module):
    """Map packed observations (T, N, *obs) to features (T, N, F) and the action mask (T, N, A), if there is one.

    Features are in the order numbers, one-hot choices and bits, images. Images go through convolutions, or are numbers as
    well. Running statistics (`normalize`) cover the numbers, and the channels of small images of uint8: these are mostly codes,
    such as MiniGrid's, that use few of the 256 values. The key `action_mask` of a Dict is not a feature.

    What the critic alone sees has Features of its own, `critic`, with statistics of their own; `for_critic` adds theirs.

    Args:
        obs_space: space of one observation.
        normalize: keep running statistics and normalise by them.
        conv: the convolutions that read images, "cnn" or "impala"; "" for none.
        alone: read what the critic alone sees, instead of the rest.

    Raises:
        UsageError: there is nothing to read, or no image to convolve.
    """

    def __init__(self, obs_space: Space[Any], normalize: bool = False, conv: str = "", *, alone: bool = False) -> None:
        super().__init__()
        self.packer, told = Packer(obs_space), critic_leaves(obs_space)
        self.read = [n for n, own in enumerate(told) if own == alone]  # its leaves among those of a packed observation
        self.leaves = [self.packer.leaves[n] for n in self.read]
        self.told = True  # observations have what it reads
        self.groups: list[str] = []  # of each leaf
        sizes = dict.fromkeys(GROUPS, 0)
        self.images, self.statistics = nn.ModuleList(), nn.ModuleDict()  # by the image's number
        self.layouts = list[Image]()
        for n, (_, leaf) in zip(self.read, self.leaves, strict=True):
            if self.packer.masked[n]:
                group, size = "mask", leaf.size
            elif conv and leaf.image is not None:
                if normalize and leaf.is_pixels and not leaf.image.is_large:
                    self.statistics[str(len(self.images))] = RunningMeanStd(leaf.image.shape[0])
                self.layouts.append(leaf.image)
                self.images.append(network := convolutions(conv, leaf.image))
                group, size = "image", num_outputs(network, leaf.image)
            else:
                group, size = "numbers" if leaf.is_real else "plain", leaf.num_features
            self.groups.append(group)
            sizes[group] += size
        if conv and not (self.images or alone):
            arrays = [leaf.space for _, leaf in self.leaves if isinstance(leaf.space, Box)]
            why = f": {why_no_image(arrays[0])}" if len(arrays) == 1 else ""
            raise UsageError(
                f"the {conv} policy needs an image in the observation space {one_line(obs_space)}{why}; use --policy mlp",
                page="environments#images",
            )
        self.mask_size = sizes.pop("mask")
        self.size = sum(sizes.values())
        if self.size == 0:
            raise UsageError(f"the observation space {obs_space} has only an action mask; add an observation")
        self.normalizer = RunningMeanStd(sizes["numbers"]) if normalize and sizes["numbers"] else None
        features = [n for n, group in enumerate(self.groups) if group != "mask"]
        self.lone = features[0] if len(features) == 1 and not self.images else None  # the only leaf that is read
        self.critic = Features(obs_space, normalize, conv, alone=True) if True in told and not alone else None
        self.critic_size = 0 if self.critic is None else self.critic.size

    def _unpack(self, obs: Tensor) -> list[Tensor]:
        """Return its leaves of packed obs (T, N, *obs), (T, N, *leaf shape) each."""
        columns = self.packer.unpack(obs)
        return [columns[n] for n in self.read]

    def for_critic(self, x: Tensor, obs: Tensor) -> Tensor:
        """Return x (T, N, F) joined by features of what the critic alone sees, (T, N, F + critic_size); x if that is nothing."""
        return x if self.critic is None else torch.cat([x, self.critic(obs)[0]], dim=-1)

    def act_alone(self, obs_space: Space[Any]) -> None:
        """From now on read observations without what the critic alone sees, whose features become zeros.

        Args:
            obs_space: of the observations so far.
        """
        if self.critic is not None:
            self.packer, self.read, self.critic.told = (
                Packer(actor_space(obs_space)),
                list(range(len(self.leaves))),
                False,
            )

    def _split(self, obs: Tensor) -> dict[str, list[Tensor]]:
        """Return what packed obs (T, N, *obs) hold of each group: images as (T · N, C, H, W), the rest as (T, N, F)."""
        columns: dict[str, list[Tensor]] = {group: [] for group in GROUPS}
        for group, (_, leaf), x in zip(self.groups, self.leaves, self._unpack(obs), strict=True):
            if group == "image":
                assert leaf.image is not None
                x = leaf.image.planes(x.flatten(0, 1))
            elif group == "mask":
                x = _allowed(x)
            else:
                x = leaf.features(x, scale=self.normalizer is None)
            columns[group].append(x)
        return columns

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return features (T, N, F) and the mask (T, N, A) bool or None."""
        if not self.told:
            return torch.zeros(*obs.shape[:2], self.size, device=obs.device), None
        if self.lone is not None and not self.packer.nested:  # there is nothing to split or join
            x = self.packer.leaves[0][1].features(obs, self.normalizer is None)
            return (x if self.normalizer is None else self.normalizer(x)), None
        columns = self._split(obs)
        numbers = columns["numbers"]
        if self.normalizer is not None:
            numbers = [self.normalizer(_join(numbers))]
        convolved = [self._convolve(n, x).unflatten(0, obs.shape[:2]) for n, x in enumerate(columns["image"])]
        mask = _join(columns["mask"]) if columns["mask"] else None
        return _join(numbers + columns["plain"] + convolved), mask

    def _convolve(self, number: int, x: Tensor) -> Tensor:
        """Return the features (M, F) of the images (M, C, H, W) with this number."""
        device = x.device.type
        if str(number) in self.statistics:
            statistics = self.statistics[str(number)]
            x = statistics(x.float().movedim(1, -1)).movedim(-1, 1)
        else:  # in bfloat16 each of 256 levels is exact
            x = x.to(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32)
            largest = self.layouts[number].largest
            x = x / largest if largest != 1 else x
        # oneDNN's kernels are written for this layout: an optimizer step was 1.1 to 1.4 times as fast, with impala 1.8 times.
        return self.images[number](x.contiguous(memory_format=torch.channels_last) if device == "cpu" else x)

    def embed(self, obs: Tensor, layers: Iterable[Any]) -> tuple[list[Tensor], Tensor | None]:
        """Return the output of each linear layer (F → W) on the features, (T, N, W) each, and the mask as `forward` does.

        A lone index is looked up in the layers' weights instead of becoming a one-hot vector as long as a vocabulary.
        """
        if self.lone is None or self.normalizer is not None:
            x, mask = self(obs)
            return [layer(x) for layer in layers], mask
        columns = self._unpack(obs)
        outputs = self.leaves[self.lone][1].embed(columns.pop(self.lone), layers)
        return outputs, _join([_allowed(x) for x in columns]) if columns else None

    def update_statistics(self, obs: Tensor, valid: Tensor) -> None:
        """Update the running statistics, if there are any, by the valid rows of packed obs (T, N, *obs)."""
        if self.critic is not None:
            self.critic.update_statistics(obs, valid)
        if self.normalizer is None and not self.statistics:
            return
        columns = self._split(obs)
        if self.normalizer is not None:
            self.normalizer.update(_join(columns["numbers"])[valid])
        for number, statistics in self.statistics.items():
            pixels = columns["image"][int(number)][valid.flatten()]  # (M, C, H, W)
            assert isinstance(statistics, RunningMeanStd)
            statistics.update(pixels.movedim(1, -1).flatten(0, 2))
