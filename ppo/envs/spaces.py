"""Spaces: any observation becomes one tensor, and any space is a list of leaves.

An observation is *packed*: one leaf keeps its shape; a Dict or Tuple becomes one vector, leaf after leaf in the order
of the space. So the rollout handles one tensor, and only a policy's features know what is in it. With pixels among other
numbers, the vector is one of bytes: those of the other numbers in float32, then the pixels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Dict, Space, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from ppo.envs.fits import MASK_KEY
from ppo.envs.leaf import Leaf
from ppo.envs.leaves import leaf_of
from ppo.errors import UsageError

NUMPY_DTYPES = {torch.uint8: np.uint8, torch.int64: np.int64, torch.float32: np.float32}


def leaves(space: Space[Any], path: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield (path, leaf) in packing order; the path of a lone leaf is empty."""
    for key, part in parts(space):
        yield from leaves(part, f"{path}.{key}" if path else str(key))
    if not is_nested(space):
        yield path, leaf_of(space)


def is_nested(space: Space[Any]) -> bool:
    """Return whether a space has parts."""
    return isinstance(space, Dict | Tuple)


def parts(space: Space[Any]) -> list[tuple[Any, Space[Any]]]:
    """Return the (key, space) pairs of a Dict or Tuple, and nothing for a leaf."""
    if isinstance(space, Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, Tuple) else []


def leaf_values(space: Space[Any], value: Any) -> Iterator[tuple[Space[Any], Any]]:
    """Yield (leaf space, its part of `value`) in packing order."""
    for key, part in parts(space):
        yield from leaf_values(part, value[key])
    if not is_nested(space):
        yield space, value


def nest(space: Space[Any], values: Iterator[Any]) -> Any:
    """Return values of the leaves, in packing order, in the structure of the space."""
    if not is_nested(space):
        return next(values)
    named = {key: nest(part, values) for key, part in parts(space)}
    return named if isinstance(space, Dict) else tuple(named.values())


def check_space(space: Space[Any], role: str, squash: bool = False) -> None:
    """Refuse what no policy can read or sample.

    Args:
        space: of one observation or action.
        role: "observation" or "action".
        squash: the numbers of a Box action go through tanh.

    Raises:
        UsageError: names the part of the space that is not supported.
    """
    if not any(leaves(space)):
        raise UsageError(f"{role} space is empty: {space}; give it a part")
    for path, leaf in leaves(space):
        if problem := leaf.problem(role, squash):
            page = "environments#observations" if role == "observation" else "environments#actions"
            raise UsageError(f"{role} space{f' at {path!r}' if path else ''} {problem}", page)


def packed_size(space: Space[Any]) -> int:
    """Count the numbers of one packed value."""
    return sum(leaf.size for _, leaf in leaves(space))


class Packer:
    """Pack a batch of observations, NumPy or torch, into one tensor; and unpack it.

    The dtype is uint8 if every leaf fits into it (images, bits), int64 for a lone leaf of indices, else float32. Pixels among
    other numbers stay bytes, and so the row is `bytewise`: numbers in float32, pixels, and padding to whole numbers.

    Args:
        space: the space of one observation.
        device: where tensors go; None leaves torch observations where they are.
    """

    def __init__(self, space: Space[Any], device: torch.device | None = None) -> None:
        self.space, self.device, self.nested = space, device, is_nested(space)
        self.leaves = list(leaves(space))  # (path, leaf) in packing order
        mask = has_mask(space)
        self.masked = [mask and path.split(".")[0] == MASK_KEY for path, _ in self.leaves]  # part of the action mask
        dtypes = {leaf.packed_dtype for _, leaf in self.leaves}
        self.bytewise = len(dtypes) > 1 and any(is_small(leaf) and leaf.is_real for _, leaf in self.leaves)
        self.dtype = dtypes.pop() if len(self.leaves) == 1 or dtypes == {torch.uint8} else torch.float32
        sizes = [sum(leaf.size for _, leaf in self.leaves if is_small(leaf) == kind) for kind in (False, True)]
        self.pixels = sizes[0] * torch.float32.itemsize  # the first column of pixels in a bytewise row
        self.padding = -sizes[1] % torch.float32.itemsize
        # Bytes of one packed observation.
        self.row_bytes = self.pixels + sizes[1] + self.padding if self.bytewise else sum(sizes) * self.dtype.itemsize

    def __call__(self, obs: Any) -> Tensor:
        """Return (N, *shape) for a leaf, (N, D) for a Dict or Tuple; indices start at 0.

        Args:
            obs: N observations, batched as Gymnasium's vector environments do.

        Raises:
            UsageError: a part is missing, or has a shape or a dtype that does not fit the space.
        """
        try:
            values = [value for _, value in leaf_values(self.space, obs)]
        except (IndexError, KeyError, TypeError) as error:
            raise UsageError(
                f"an observation of type {type(obs).__name__} lacks a part of {self.space}: {error}"
            ) from error
        for (path, leaf), value in zip(self.leaves, values, strict=True):
            shape = np.shape(value)
            if shape[1:] != leaf.shape or not shape or not leaf.takes(value):
                where = f" at {path!r}" if path else ""
                kind = getattr(value, "dtype", type(value).__name__)
                raise UsageError(
                    f"observations{where} have the shape {tuple(shape)} and the dtype {kind}, but the space needs "
                    f"({', '.join(['N', *map(str, leaf.shape)])}) and {leaf.dtype}"
                )
        if len({len(value) for value in values}) > 1:
            rows = ", ".join(f"{len(value)} at {path!r}" for (path, _), value in zip(self.leaves, values, strict=True))
            raise UsageError(f"the parts of an observation have different numbers of rows: {rows}")
        return self.join(values)

    def join(self, values: Sequence[Any], plain: bool = False) -> Tensor:
        """Return the same from the leaves of the observations, (N, *leaf shape) each, in packing order.

        Args:
            values: of the leaves.
            plain: a row that would be bytewise is one of float32, which `unpack` reads too; ONNX has no views of bytes.
        """
        bytewise = self.bytewise and not plain
        columns = [
            self._pack(leaf, value, torch.uint8 if bytewise and is_small(leaf) else self.dtype)
            for (_, leaf), value in zip(self.leaves, values, strict=True)
        ]
        if not self.nested:
            return columns[0]
        columns = [column.reshape(column.shape[0], -1) for column in columns]
        if not bytewise:
            return torch.cat(columns, dim=1)  # (N, D)
        numbers = torch.cat([x for x in columns if x.dtype == torch.float32], dim=1)
        pixels = [x for x in columns if x.dtype == torch.uint8]
        padding = pixels[0].new_zeros(len(numbers), self.padding)
        return torch.cat([numbers.view(torch.uint8), *pixels, padding], dim=1)  # (N, row_bytes)

    def _pack(self, leaf: Leaf, values: Any, dtype: torch.dtype) -> Tensor:
        values = leaf.to_packed(values)
        # Copies, because an environment may write its next observation into the same array.
        if isinstance(values, Tensor):
            return values.to(self.device or values.device, dtype, copy=True)
        with np.errstate(over="ignore"):  # what becomes infinite is refused in a sentence
            packed = torch.from_numpy(np.array(values, dtype=NUMPY_DTYPES[dtype], order="C"))
        return packed.to(self.device) if self.device is not None and self.device.type != "cpu" else packed

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """Split packed observations (…, *shape) or (…, D) into (…, *leaf shape) each, in packing order."""
        if not self.nested:
            return [packed]
        if self.bytewise and packed.dtype == torch.uint8:
            parts = {False: self.numbers(packed), True: packed[..., self.pixels :]}
            begins, columns = {False: 0, True: 0}, []
            for _, leaf in self.leaves:
                kind = is_small(leaf)
                columns.append(parts[kind].narrow(-1, begins[kind], leaf.size))
                begins[kind] += leaf.size
        else:
            columns = list(packed.split([leaf.size for _, leaf in self.leaves], dim=-1))
        return [
            column.unflatten(-1, leaf.packed_shape) if leaf.packed_shape else column.squeeze(-1)
            for (_, leaf), column in zip(self.leaves, columns, strict=True)
        ]

    def numbers(self, packed: Tensor) -> Tensor:
        """Return packed observations without the pixels of a bytewise row: (…, K) float32; of another row, all."""
        return packed[..., : self.pixels].view(torch.float32) if self.bytewise else packed

    def mask(self, packed: Tensor) -> Tensor | None:
        """Return the action mask in packed observations, (…, A) bool; None without one."""
        if not any(self.masked):
            return None
        own = zip(self.unpack(packed), self.masked, strict=True)
        columns = [x.reshape(*packed.shape[:-1], -1) for x, masked in own if masked]
        return (columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)) > 0


def is_small(leaf: Leaf) -> bool:
    """Return whether bytes hold the packed numbers of a leaf."""
    return leaf.packed_dtype == torch.uint8


def has_image(space: Space[Any]) -> bool:
    """Return whether observations hold an image that convolutions can read."""
    return any(leaf.image is not None for _, leaf in leaves(space))


def has_mask(space: Space[Any]) -> bool:
    """Return whether observations hold an action mask."""
    return isinstance(space, Dict) and MASK_KEY in space.spaces


def take(obs: Any, index: Any) -> Any:
    """Select rows of a batched observation of any structure, or one row by its number."""
    if isinstance(obs, dict):
        return {key: take(part, index) for key, part in obs.items()}
    return tuple(take(part, index) for part in obs) if isinstance(obs, tuple) else obs[index]


def gather(final: Any, index: np.ndarray, space: Any) -> Any:
    """Return the final observations at index as a batch, from an object array of single ones or from a batch."""
    if not (isinstance(final, np.ndarray) and final.dtype == object):
        return take(final, index)
    return concatenate(space, [final[n] for n in index], create_empty_array(space, len(index)))  # type: ignore[arg-type]


def to_torch(actions: Any, device: torch.device) -> Any:
    """Return actions of any structure as tensors."""
    if isinstance(actions, dict):
        return {key: to_torch(part, device) for key, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(to_torch(part, device) for part in actions)
    return torch.as_tensor(actions, device=device)


def one_line(space: Space[Any]) -> str:
    """Return a space's text without line breaks."""
    return " ".join(str(space).split())
