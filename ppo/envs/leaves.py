"""The kinds of leaves, one class per kind of space: to support another one, write its class and add it to `KINDS`."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from torch import Tensor
from torch.nn import functional as F

from ppo.envs.images import WIDEST, Resized, image_of, largest_pixel
from ppo.envs.leaf import Leaf, like
from ppo.machine.operations import lookup

LARGEST = 0.999  # of tanh's values when an action is packed: atanh of 1 is infinite, of this 3.8
SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"


class Unsupported(Leaf):
    """A kind of space that has no class here."""

    def problem(self, role: str, squash: bool = False) -> str:
        """Return that it is not supported, and what is."""
        kind = type(self.space).__name__
        return f"is {kind}, which is not supported; wrap the environment so that it uses {SUPPORTED}"


class BoxLeaf(Leaf):
    """Real numbers or pixels.

    As an action, a number with bounds is packed in units of half its range from the middle, so that −1 and 1 are the
    bounds; without bounds, as it is.
    """

    is_real = True

    def __init__(self, space: Box) -> None:
        super().__init__(space)
        self.is_pixels = self.dtype == np.uint8
        self.largest = largest_pixel(space)
        self.factors = [("gaussian", self.size)]
        self.image = self._seen = image_of(space)
        self.side = getattr(space, "side", 0)  # of a Resized
        if self._seen is not None and self.side:
            self.image = self._seen.resized(self.side)
            self.packed_shape = self.image.array_shape
            self.size = self.num_features = int(np.prod(self.packed_shape))

    def problem(self, role: str, squash: bool = False) -> str:
        """Return why it cannot be read or sampled: also integers as actions, and tanh without bounds."""
        if role == "action" and not np.issubdtype(self.dtype, np.floating):
            return f"is a Box of {self.dtype}; use Discrete or MultiDiscrete for integers"
        if role == "action" and squash:
            spread = np.float32(self.space.high) - np.float32(self.space.low)
            if not (np.isfinite(spread) & (spread > 0)).all():
                return "has no finite range to squash into; use --action-bound clip"
        return super().problem(role)

    @cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray]:
        """The middle and half of each number's range, *shape; 0 and 1 where there is no range."""
        low, high = self.space.low.astype(np.float64), self.space.high.astype(np.float64)
        half = high / 2 - low / 2
        bounded = half < WIDEST  # False for infinity
        middle = np.where(bounded, np.where(bounded, low, 0) / 2 + np.where(bounded, high, 0) / 2, 0)
        return middle.astype(self.dtype), np.where(bounded & (half > 0), half, 1).astype(self.dtype)

    @property
    def bounds(self) -> np.ndarray:
        """Return low, high and unit of each number, (3, K); low and high are in that unit."""
        middle, half = self._units
        return np.stack([(self.space.low - middle) / half, (self.space.high - middle) / half, half]).reshape(3, -1)

    def to_env(self, packed: Any, squash: bool = False) -> Any:
        """Return packed actions (N, size) in the environment's units and within its bounds, (N, *shape)."""
        xp: Any = np
        (middle, half), low, high = self._units, self.space.low, self.space.high
        if isinstance(packed, Tensor):
            xp = torch
            middle, half, low, high = (like(packed, x) for x in (middle, half, low, high))
        x = self._cast(packed)
        x = middle + half * (xp.tanh(x) if squash else x)
        return xp.minimum(xp.maximum(x, low), high)  # np.clip takes three times as long

    def unpacked(self, packed: Any) -> Any:
        """Return packed observations as they are: the numbers do not change, and an image stays as small."""
        return packed

    def from_env(self, values: np.ndarray, squash: bool = False) -> np.ndarray:
        """Return actions in the environment's units as packed, (N, size).

        With tanh no number is at a bound, so that numbers within LARGEST of it, in units, are taken to be there.
        """
        middle, half = self._units
        x = (values.astype(np.float64) - middle) / half
        x = np.arctanh(np.clip(x, -LARGEST, LARGEST)) if squash else x
        return x.reshape(len(values), -1).astype(np.float32)

    def to_packed(self, values: Any) -> Any:
        """Return values of the environment as packed: a Resized image becomes smaller, unless it is so already."""
        if self._seen is None or not self.side or values.shape[1:] == self.packed_shape:
            return values
        x = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
        small = self._seen.resize(x, self.side)
        return small if isinstance(values, Tensor) else small.numpy()

    def features(self, x: Tensor, scale: bool = True) -> Tensor:
        """Return the numbers (T, N, F); `scale` maps pixels to 0 … 1, by their bounds."""
        x = super().features(x)
        return x / self.largest if scale and self.is_pixels else x

    def to_json(self) -> dict[str, Any]:
        """Describe shape, dtype and bounds."""
        bounds = {"low": _to_texts(self.space.low), "high": _to_texts(self.space.high)}
        resized = {"resize": self.side} if self.side else {}
        return {"shape": list(self.shape), "dtype": str(self.dtype), **bounds, **resized}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Space[Any]:
        """Return the Box that `to_json` described."""
        dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
        low, high = (_from_texts(data[name], shape, dtype) for name in ("low", "high"))
        box = Box(low, high, shape, dtype)
        return Resized(box, data["resize"]) if "resize" in data else box


def _to_texts(bound: np.ndarray) -> Any:
    # One number if all are equal, so that an image's bounds do not fill a page; text, because JSON has no infinity.
    texts = [str(x) for x in bound.ravel()]
    return texts[0] if len(set(texts)) == 1 else texts


def _from_texts(texts: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    texts = np.array(texts)
    bounds = texts == "True" if dtype.kind == "b" else texts.astype(dtype)  # astype takes every text for True
    return np.full(shape, bounds.reshape(shape if bounds.ndim else ()), dtype)


class DiscreteLeaf(Leaf):
    """One choice: an index, one-hot features, one categorical factor."""

    packed_dtype = torch.int64
    is_index = True

    def __init__(self, space: Discrete) -> None:
        super().__init__(space)
        self.num_features = int(space.n)
        self.last = self.num_features - 1
        self.factors = [("categorical", self.num_features)]

    def features(self, x: Tensor, scale: bool = True) -> Tensor:
        """Return one-hot vectors (T, N, F)."""
        return F.one_hot(x.long(), self.num_features).float()

    def embed(self, x: Tensor, layers: Iterable[Any]) -> list[Tensor]:
        """Look up columns of the layers' weights: (T, N, W) each, without one-hot vectors as long as a vocabulary."""
        index = x.long()
        return [lookup(index, layer.weight.t()) + layer.bias for layer in layers]

    def to_json(self) -> dict[str, Any]:
        """Describe the choices."""
        return {"n": int(self.space.n), "start": int(self.start), "dtype": str(self.dtype)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Space[Any]:
        """Return the Discrete that `to_json` described."""
        return Discrete(data["n"], start=data["start"], dtype=np.dtype(data["dtype"]).type)


class MultiDiscreteLeaf(Leaf):
    """Several choices: their indices, one-hot features side by side, one categorical factor each."""

    packed_dtype = torch.int64

    def __init__(self, space: MultiDiscrete) -> None:
        super().__init__(space)
        self.factors = [("categorical", int(n)) for n in space.nvec.ravel()]
        self.last = space.nvec - 1
        self.num_features = sum(n for _, n in self.factors)

    def features(self, x: Tensor, scale: bool = True) -> Tensor:
        """Return one-hot vectors side by side, (T, N, F)."""
        columns = x.reshape(*x.shape[:2], -1).long().unbind(-1)
        return torch.cat([F.one_hot(x, n) for x, (_, n) in zip(columns, self.factors, strict=True)], dim=-1).float()

    def to_json(self) -> dict[str, Any]:
        """Describe the choices."""
        return {"dtype": str(self.dtype), "nvec": self.space.nvec.tolist(), "start": self.start.tolist()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Space[Any]:
        """Return the MultiDiscrete that `to_json` described."""
        return MultiDiscrete(np.array(data["nvec"]), np.dtype(data["dtype"]).type, start=np.array(data["start"]))


class MultiBinaryLeaf(Leaf):
    """Bits, each a feature and a Bernoulli variable."""

    packed_dtype = torch.uint8
    last = 1

    def __init__(self, space: MultiBinary) -> None:
        super().__init__(space)
        self.factors = [("bernoulli", self.size)]

    def to_json(self) -> dict[str, Any]:
        """Describe the shape."""
        return {"n": self.space.n if isinstance(self.space.n, int) else list(self.space.n)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Space[Any]:
        """Return the MultiBinary that `to_json` described."""
        return MultiBinary(data["n"])


KINDS: dict[type[Space[Any]], type[Leaf]] = {
    Box: BoxLeaf, Discrete: DiscreteLeaf, MultiDiscrete: MultiDiscreteLeaf, MultiBinary: MultiBinaryLeaf,
}  # fmt: skip


def leaf_of(space: Space[Any]) -> Leaf:
    """Return the leaf for a space that is neither a Dict nor a Tuple."""
    return next((leaf for kind, leaf in KINDS.items() if isinstance(space, kind)), Unsupported)(space)
