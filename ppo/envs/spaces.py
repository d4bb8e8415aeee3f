"""Spaces: any observation as one tensor, any action from one tensor, and both spaces as JSON.

An observation is *packed*: one leaf keeps its shape; a Dict or Tuple becomes one vector, leaf after leaf in the order
of the space. So the rollout and the fold know one tensor, and only a policy's features know what is in it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from ppo.errors import UsageError

LEAVES = (Box, Discrete, MultiDiscrete, MultiBinary)
NUMPY_DTYPES = {torch.uint8: np.uint8, torch.int64: np.int64, torch.float32: np.float32}
SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"
MASK_KEY = "action_mask"


def leaves(space: Space[Any], path: str = "") -> Iterator[tuple[str, Space[Any]]]:
    """Yield (path, leaf space) in packing order; the path of a lone leaf is empty."""
    for key, part in parts(space):
        yield from leaves(part, f"{path}.{key}" if path else str(key))
    if not isinstance(space, Dict | Tuple):
        yield path, space


def parts(space: Space[Any]) -> list[tuple[Any, Space[Any]]]:
    """Return the (key, space) pairs of a Dict or Tuple, and nothing for a leaf."""
    if isinstance(space, Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, Tuple) else []


def leaf_values(space: Space[Any], value: Any) -> Iterator[tuple[Space[Any], Any]]:
    """Yield (leaf space, its part of `value`) in packing order."""
    for key, part in parts(space):
        yield from leaf_values(part, value[key])
    if not isinstance(space, Dict | Tuple):
        yield space, value


def check_observation_space(space: Space[Any]) -> None:
    """Refuse what no policy here can read.

    Raises:
        UsageError: names the part of the space that is not supported.
    """
    for path, leaf in leaves(space):
        if not isinstance(leaf, LEAVES):
            raise UsageError(
                f"observation space{_at(path)} is {type(leaf).__name__}, which is not supported; "
                f"wrap the environment so that it gives {SUPPORTED}"
            )
        if leaf_size(leaf) == 0:
            raise UsageError(f"observation space{_at(path)} is empty: {leaf}; remove it from the observation")


def check_action_space(space: Space[Any], action_bound: str = "clip") -> None:
    """Refuse what no head here can sample.

    Raises:
        UsageError: names the part of the space that is not supported.
    """
    for path, leaf in leaves(space):
        if not isinstance(leaf, LEAVES):
            raise UsageError(
                f"action space{_at(path)} is {type(leaf).__name__}, which is not supported; "
                f"wrap the environment so that it takes {SUPPORTED}"
            )
        if isinstance(leaf, Box) and not np.issubdtype(leaf.dtype, np.floating):
            raise UsageError(
                f"action space{_at(path)} is a Box of {leaf.dtype}; use Discrete or MultiDiscrete for whole numbers"
            )
        if isinstance(leaf, Box) and action_bound == "tanh":
            spread = np.float32(leaf.high) - np.float32(leaf.low)
            if not (np.isfinite(spread) & (spread > 0)).all():
                raise UsageError(f"action space{_at(path)} has no finite range to squash into; use --action-bound clip")
        if leaf_size(leaf) == 0:
            raise UsageError(f"action space{_at(path)} is empty: {leaf}; there is nothing to decide")


def _at(path: str) -> str:
    return f" at '{path}'" if path else ""


def leaf_size(leaf: Space[Any]) -> int:
    """Count the numbers of one packed leaf: 1 for Discrete, the product of the shape for the others."""
    return 1 if isinstance(leaf, Discrete) else int(np.prod(leaf.shape or (1,)))


def packed_dtype(space: Space[Any]) -> torch.dtype:
    """Return uint8 where nothing needs more (images, bits), int64 for lone indices, else float32."""
    found = [leaf for _, leaf in leaves(space)]
    if all(isinstance(leaf, MultiBinary) or leaf.dtype == np.uint8 for leaf in found):
        return torch.uint8
    return torch.int64 if len(found) == 1 and isinstance(found[0], Discrete | MultiDiscrete) else torch.float32


class Packer:
    """Pack a batch of observations, NumPy or torch, into one tensor.

    Args:
        space: the space of one observation.
        device: where tensors go; None leaves torch observations where they are.
    """

    def __init__(self, space: Space[Any], device: torch.device | None = None) -> None:
        self.space, self.device, self.dtype = space, device, packed_dtype(space)
        self.nested, self.leaves = isinstance(space, Dict | Tuple), [leaf for _, leaf in leaves(space)]

    def __call__(self, obs: Any) -> Tensor:
        """Return (N, *shape) for a leaf, (N, D) for a Dict or Tuple, of packed_dtype(space); indices start at 0.

        Args:
            obs: N observations, batched as Gymnasium's vector environments do.
        """
        return self.join([value for _, value in leaf_values(self.space, obs)])

    def join(self, values: Sequence[Any]) -> Tensor:
        """Return the same of the observations' leaves, (N, …) each, in packing order."""
        columns = [self._leaf(leaf, value) for leaf, value in zip(self.leaves, values, strict=True)]
        if not self.nested:
            return columns[0]
        return torch.cat([column.reshape(column.shape[0], -1) for column in columns], dim=1)  # (N, D)

    def _leaf(self, leaf: Space[Any], value: Any) -> Tensor:
        if isinstance(leaf, Discrete | MultiDiscrete) and np.any(leaf.start):
            value = value - (torch.as_tensor(leaf.start).to(value.device) if isinstance(value, Tensor) else leaf.start)
        # Copies, because an environment may write its next observation into the same array.
        if isinstance(value, Tensor):
            return value.to(self.device or value.device, self.dtype, copy=True)
        packed = torch.from_numpy(np.array(value, dtype=NUMPY_DTYPES[self.dtype], order="C"))
        return packed.to(self.device) if self.device is not None and self.device.type != "cpu" else packed


def unpack(space: Space[Any], packed: Tensor) -> list[tuple[str, Space[Any], Tensor]]:
    """Split packed observations (…, *shape) or (…, D) into (path, leaf, (…, *leaf shape)) in packing order."""
    found = list(leaves(space))
    if not isinstance(space, Dict | Tuple):
        return [(found[0][0], found[0][1], packed)]
    columns = packed.split([leaf_size(leaf) for _, leaf in found], dim=-1)
    return [
        (path, leaf, column.unflatten(-1, leaf.shape) if leaf.shape else column.squeeze(-1))
        for (path, leaf), column in zip(found, columns, strict=True)
    ]


def mask_columns(space: Space[Any]) -> slice | None:
    """Return the columns of a packed observation that hold its action mask, or None without one."""
    if not (isinstance(space, Dict) and MASK_KEY in space.spaces):
        return None
    sizes = {key: sum(leaf_size(leaf) for _, leaf in leaves(part)) for key, part in parts(space)}
    begin = sum(size for key, size in sizes.items() if list(sizes).index(key) < list(sizes).index(MASK_KEY))
    return slice(begin, begin + sizes[MASK_KEY])


def take(obs: Any, index: Any) -> Any:
    """Select rows of a batched observation of any structure, or one row by its number."""
    if isinstance(obs, dict):
        return {key: take(part, index) for key, part in obs.items()}
    return tuple(take(part, index) for part in obs) if isinstance(obs, tuple) else obs[index]


def gather(final: Any, index: np.ndarray, space: Any) -> Any:
    """Batch the final observations at index, given one by one in an object array or as a batch already."""
    if not (isinstance(final, np.ndarray) and final.dtype == object):
        return take(final, index)
    return concatenate(space, [final[n] for n in index], create_empty_array(space, len(index)))  # type: ignore[arg-type]


def flat_mask(mask: Any) -> np.ndarray:
    """Return an action mask, one array or a tuple of one a part, as one flat array of int8."""
    columns = mask if isinstance(mask, tuple | list) else [mask]
    return np.concatenate([np.ravel(column) for column in columns]).astype(np.int8)


def one_line(space: Space[Any]) -> str:
    """Return the space's own text without line breaks."""
    return " ".join(str(space).split())
