"""One leaf of a space: how it is packed, read, sampled, sent to the environment, stored and checked."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor

from ppo.envs.fits import castable
from ppo.envs.images import Image


class Leaf:
    """One leaf of a space.

    Attributes:
        shape: of one value.
        packed_shape: of one packed value; that of an image may be smaller.
        dtype: NumPy's, of one value.
        size: numbers of one packed value.
        start: the smallest choice, which packing subtracts; 0 where there are no choices.
        last: the largest packed choice; None where there are no choices.
        factors: independent factors of the action distribution, each as (kind, outputs of the network).
        num_features: features of one value.
        packed_dtype: the smallest dtype that holds packed values.
        is_index: one choice, packed as a single number without a dimension.
        is_real: numbers that running statistics can normalise.
        is_pixels: bytes.
        image: the layout of packed values that convolutions can read; None for others.
    """

    packed_dtype = torch.float32
    is_index = is_real = is_pixels = False
    last: Any = None
    image: Image | None = None

    def __init__(self, space: Any) -> None:
        self.space, self.dtype = space, space.dtype
        self.shape: tuple[int, ...] = tuple(space.shape or ())
        self.packed_shape = self.shape
        self.size = self.num_features = int(np.prod(self.shape))
        self.start: Any = getattr(space, "start", 0)
        self.factors: list[tuple[str, int]] = []
        self._starts_at_zero = not np.any(self.start)
        self._kinds = "" if self.dtype is None else castable(self.dtype)  # Text and Graph have none
        if self.dtype in (np.uint8, np.bool_):
            self.packed_dtype = torch.uint8

    def problem(self, role: str, squash: bool = False) -> str:
        """Return why no policy can have the leaf in a role, "observation" or "action", and what to do; "" if it can."""
        return f"is empty: {self.space}; remove it" if self.size == 0 else ""

    def takes(self, values: Any) -> bool:
        """Return whether the dtype of values, NumPy or torch, fits: no fractions for integers, for example."""
        if isinstance(values, Tensor):
            return not values.is_floating_point() or "f" in self._kinds
        return np.asarray(values).dtype.kind in self._kinds

    def to_packed(self, values: Any) -> Any:
        """Return values of the environment (N, *shape) as packed, (N, *packed_shape), NumPy or torch: choices from 0."""
        if self._starts_at_zero:
            return values
        return values - (torch.as_tensor(self.start).to(values.device) if isinstance(values, Tensor) else self.start)

    def unpacked(self, packed: Any) -> Any:
        """Return packed values (N, *packed_shape) as the environment gave them, (N, *shape): the inverse of `to_packed`."""
        return self._cast(packed) + like(packed, self.start)

    def to_env(self, packed: Any, squash: bool = False) -> Any:
        """Return packed actions (N, size), NumPy or torch, as the environment takes them: (N, *shape) of its dtype.

        Args:
            packed: the leaf's numbers in N packed actions.
            squash: pass the numbers of a Box through tanh.
        """
        return self.unpacked(packed)

    def from_env(self, values: np.ndarray, squash: bool = False) -> np.ndarray:
        """Return actions of the environment (N, *shape) as packed, (N, size): the inverse of `to_env`."""
        return np.asarray(self.to_packed(values.astype(np.int64))).reshape(len(values), -1)

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


def like(packed: Any, constant: Any) -> Any:
    """Return a NumPy constant, as a tensor if `packed` is one."""
    return torch.from_numpy(np.array(constant)) if isinstance(packed, Tensor) else constant
