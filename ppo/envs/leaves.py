"""Leaves: one class per kind of space says how it is packed, read, sampled, sent to the environment, stored and checked.

To support another kind of space, write its class and add it to `KINDS`.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from torch import Tensor
from torch.nn import functional as F

from ppo.machine.operations import lookup

SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"
WIDEST = 1e6  # half the widest range that an action is scaled to; wider bounds are the limits of a number type


class Leaf:
    """One leaf of a space.

    Attributes:
        shape: of one value.
        dtype: NumPy's, of one value.
        size: numbers of one packed value.
        start: the smallest choice, which packing subtracts; 0 where there are no choices.
        factors: independent factors of the action distribution, each as (kind, outputs of the network).
        num_features: features of one value.
        packed_dtype: the smallest dtype that holds packed values.
        is_index: one choice, packed as a single number without a dimension.
        is_real: numbers that running statistics can normalise.
        is_pixels: numbers from 0 to 255.
    """

    packed_dtype = torch.float32
    is_index = is_real = is_pixels = False

    def __init__(self, space: Any) -> None:
        self.space, self.dtype = space, space.dtype
        self.shape: tuple[int, ...] = tuple(space.shape or ())
        self.size = self.num_features = int(np.prod(self.shape))
        self.start: Any = getattr(space, "start", 0)
        self.factors: list[tuple[str, int]] = []
        self._starts_at_zero = not np.any(self.start)
        if self.dtype == np.uint8:
            self.packed_dtype = torch.uint8

    def problem(self, role: str, squash: bool = False) -> str:
        """Return why no policy can have the leaf in a role, "observation" or "action", and what to do; "" if it can."""
        return f"is empty: {self.space}; remove it" if self.size == 0 else ""

    def zero_based(self, values: Any) -> Any:
        """Return values of the environment (N, *shape), NumPy or torch, with choices counted from 0."""
        if self._starts_at_zero:
            return values
        return values - (torch.as_tensor(self.start).to(values.device) if isinstance(values, Tensor) else self.start)

    def to_env(self, packed: Any, squash: bool = False) -> Any:
        """Return packed actions (N, size), NumPy or torch, as the environment takes them: (N, *shape) of its dtype.

        Args:
            packed: the leaf's numbers in N packed actions.
            squash: pass the numbers of a Box through tanh.
        """
        return self._cast(packed) + _like(packed, self.start)

    def examples(self, num: int) -> np.ndarray:
        """Return (num, *shape) values for tracing: the smallest choices, or zeros."""
        return np.zeros((num, *self.shape), self.dtype) + np.asarray(self.start, self.dtype)

    def features(self, x: Tensor, scale: bool = True) -> Tensor:
        """Return the features (T, N, F) of packed values x (T, N, *shape); `scale` maps pixels to 0 … 1."""
        x = x.reshape(*x.shape[:2], -1)
        return x if x.is_floating_point() else x.float()

    def embed(self, x: Tensor, layers: Iterable[Any]) -> list[Tensor]:
        """Return what linear layers (F → W) make of the features of x (T, N, *shape): (T, N, W) each."""
        features = self.features(x).contiguous()
        return [layer(features) for layer in layers]

    @property
    def bounds(self) -> np.ndarray:
        """Return low, high and unit of each real number of an action, (3, K); low and high are in that unit."""
        return np.zeros((3, 0))

    def to_json(self) -> dict[str, Any]:
        """Describe the space by plain JSON values, without its type."""
        raise NotImplementedError

    @staticmethod
    def from_json(data: dict[str, Any]) -> Space[Any]:
        """Return the space that `to_json` described."""
        raise NotImplementedError

    def _cast(self, packed: Any) -> Any:
        packed = packed.reshape(-1, *self.shape)
        if isinstance(packed, Tensor):
            return packed.to(torch.from_numpy(np.zeros(0, self.dtype)).dtype)
        return packed.astype(self.dtype, copy=False)


def _like(packed: Any, constant: Any) -> Any:
    """Return a NumPy constant as a tensor if `packed` is one."""
    return torch.from_numpy(np.array(constant)) if isinstance(packed, Tensor) else constant


class Unsupported(Leaf):
    """A kind of space that has no class here."""

    def problem(self, role: str, squash: bool = False) -> str:
        """Return that it is not supported, and what is."""
        return (
            f"is {type(self.space).__name__}, which is not supported; wrap the environment so that it uses {SUPPORTED}"
        )


class BoxLeaf(Leaf):
    """Real numbers or pixels.

    As an action, a number with bounds is packed in units of half its range from the middle, so that −1 and 1 are the
    bounds; without bounds, as it is.
    """

    is_real = True

    def __init__(self, space: Box) -> None:
        super().__init__(space)
        self.is_pixels = self.dtype == np.uint8
        self.factors = [("gaussian", self.size)]

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
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """The middle and half of each number's range, *shape; 0 and 1 where there is no range."""
        low, high = self.space.low.astype(np.float64), self.space.high.astype(np.float64)
        half = high / 2 - low / 2
        bounded = half < WIDEST  # False for infinity
        middle = np.where(bounded, np.where(bounded, low, 0) / 2 + np.where(bounded, high, 0) / 2, 0)
        return middle.astype(self.dtype), np.where(bounded & (half > 0), half, 1).astype(self.dtype)

    @property
    def bounds(self) -> np.ndarray:
        """Return low, high and unit of each number, (3, K); low and high are in that unit."""
        middle, half = self._scale
        return np.stack([(self.space.low - middle) / half, (self.space.high - middle) / half, half]).reshape(3, -1)

    def to_env(self, packed: Any, squash: bool = False) -> Any:
        """Return packed actions (N, size) in the environment's units and within its bounds, (N, *shape)."""
        xp: Any = torch if isinstance(packed, Tensor) else np
        middle, half, low, high = (_like(packed, x) for x in (*self._scale, self.space.low, self.space.high))
        x = self._cast(packed)
        x = middle + half * (xp.tanh(x) if squash else x)
        return xp.minimum(xp.maximum(x, low), high)  # np.clip takes three times as long

    def features(self, x: Tensor, scale: bool = True) -> Tensor:
        """Return the numbers (T, N, F); `scale` maps pixels to 0 … 1."""
        x = super().features(x)
        return x / 255 if scale and self.is_pixels else x

    def to_json(self) -> dict[str, Any]:
        """Describe shape, dtype and bounds."""
        bounds = {"low": _to_texts(self.space.low), "high": _to_texts(self.space.high)}
        return {"shape": list(self.shape), "dtype": str(self.dtype), **bounds}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Space[Any]:
        """Return the Box that `to_json` described."""
        dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
        low, high = (_from_texts(data[name], shape, dtype) for name in ("low", "high"))
        return Box(low, high, shape, dtype)


def _to_texts(bound: np.ndarray) -> Any:
    # One number if all are equal, so that an image's bounds do not fill a page; text, because JSON has no infinity.
    texts = [str(x) for x in bound.ravel()]
    return texts[0] if len(set(texts)) == 1 else texts


def _from_texts(texts: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if isinstance(texts, str):
        return np.full(shape, np.array([texts]).astype(dtype)[0], dtype)
    return np.array(texts).astype(dtype).reshape(shape)


class DiscreteLeaf(Leaf):
    """One choice: an index, one-hot features, one categorical factor."""

    packed_dtype = torch.int64
    is_index = True

    def __init__(self, space: Discrete) -> None:
        super().__init__(space)
        self.num_features = int(space.n)
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
