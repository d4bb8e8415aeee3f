"""Heads: an action space becomes a distribution, and a sample of it becomes an action of the environment.

Actions are *packed* like observations: Discrete is one index, everything else a vector; the parts of a Dict or Tuple
stand side by side, and their log-probabilities and entropies add.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from torch import Tensor, nn

from ppo.envs.spaces import check_action_space, leaf_size, leaves, parts
from ppo.errors import UsageError
from ppo.policies.distributions import (
    DROPPED,
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    Product,
    SquashedGaussian,
    likeliest,
)

LOG_STD_RANGE = (-10.0, 2.0)  # a deviation from 5e-5 to 7.4: beyond, float32 log-probabilities lose their meaning
WIDEST = 1e6  # half a range; wider ones are the limits of a number's type and no range to choose from


class Head(nn.Module):
    """Turn `num_outputs` numbers of a network into a distribution over the actions of a space.

    A bounded Box's numbers are packed in units of half their range from its middle, so that −1 and 1 are the bounds and a
    deviation means the same everywhere; densities are those of the units, but for tanh, whose are those of the action.

    Args:
        action_space: Discrete, MultiDiscrete, MultiBinary, Box of floats, or a Dict or Tuple of these.
        action_bound: "clip" a bounded Box's sample to its bounds, or squash it by "tanh".
        log_std_init: initial log standard deviation of Box actions; it is a parameter that no observation changes. "auto"
            is −½ log K for K numbers, so that the noise of all together has size 1: what shakes the 8 joints of an Ant
            as hard as the 3 of a Hopper teaches it nothing.
        mask_size: width of the action mask in the observation, 0 without one.
        temperature: divides the logits of choices.
        top_k: only the k most probable entries of a choice are taken; 0: all.
        top_p: only the most probable entries that together have this probability are taken; 1: all.

    Options of a policy that are none of a head are ignored. Whatever shapes what is sampled is part of the distribution, so
    that log-probabilities are those of the sampling, in training as well.

    Raises:
        UsageError: an unsupported part of the space, or a mask that does not fit it.
    """

    low: Tensor  # (K,) bounds of the numbers of all Box leaves, in units
    high: Tensor  # (K,)
    scale: Tensor  # (K,) the units: half of each number's range

    def __init__(
        self,
        action_space: Space[Any],
        mask_size: int = 0,
        *,
        action_bound: str = "clip",
        log_std_init: float | Literal["auto"] = "auto",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        **others: Any,
    ) -> None:
        super().__init__()
        check_action_space(action_space, action_bound)
        self.space, self.squash = action_space, action_bound == "tanh"
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.parts: list[tuple[Any, int]] = []  # (distribution, outputs of the network), in packing order
        self.units: list[tuple[np.ndarray, np.ndarray] | None] = []  # (middle, half) of each leaf that is a Box
        bounds: list[np.ndarray] = []  # (3, K) low, high and half of each
        for _, leaf in leaves(action_space):
            self.units.append(None)
            if isinstance(leaf, Box):
                self.parts.append((Gaussian, leaf_size(leaf)))
                middle, half = self.units[-1] = _units(leaf)
                bounds.append(np.stack([(leaf.low - middle) / half, (leaf.high - middle) / half, half]).reshape(3, -1))
            elif isinstance(leaf, MultiBinary):
                self.parts.append((Bernoulli, leaf_size(leaf)))
            else:
                sizes = [leaf.n] if isinstance(leaf, Discrete) else leaf.nvec.ravel()  # type: ignore[attr-defined]
                self.parts += [(Categorical, int(size)) for size in sizes]
        self.sizes = [size for _, size in self.parts]
        self.num_outputs = sum(self.sizes)
        self.widths = [1 if kind is Categorical else size for kind, size in self.parts]
        self.ends = np.cumsum([leaf_size(leaf) for _, leaf in leaves(action_space)])[:-1]  # of a leaf's packed numbers
        table = np.concatenate(bounds or [np.zeros((3, 0))], axis=1)
        numbers = table.shape[1]
        log_std = -0.5 * math.log(max(numbers, 1)) if log_std_init == "auto" else log_std_init
        self.log_std = nn.Parameter(torch.full((numbers,), log_std)) if bounds else None
        for name, row in zip(("low", "high", "scale"), table, strict=True):
            self.register_buffer(name, torch.as_tensor(row, dtype=torch.float32), persistent=False)
        choices = self.num_outputs if isinstance(action_space, Discrete | MultiDiscrete) else 0
        if mask_size and mask_size != choices:
            raise UsageError(
                f"action_mask has {mask_size} entries but the action space {action_space} has "
                f"{choices or 'no'} choices to mask; give one entry a choice of a Discrete or MultiDiscrete space"
            )

    def forward(self, outputs: Tensor, mask: Tensor | None = None) -> Distribution:
        """Build the distribution.

        Args:
            outputs: (…, num_outputs) of the network.
            mask: (…, num_outputs) bool, True where a choice is allowed; a part with none allowed is left unmasked
                (the collector has refused it unless the row is no decision).
        """
        outputs = outputs.to(self.low.dtype)  # also where the network computes in bfloat16
        if mask is not None:
            allowed = torch.cat([m | ~m.any(-1, keepdim=True) for m in mask.split(self.sizes, dim=-1)], dim=-1)
            outputs = outputs.masked_fill(~allowed, DROPPED)
        if len(self.parts) == 1 and (isinstance(self.space, Discrete) or self.parts[0][0] is not Categorical):
            return self._part(self.parts[0][0], outputs, 0)
        dists, offset = [], 0
        for (kind, size), column in zip(self.parts, outputs.split(self.sizes, dim=-1), strict=True):
            dists.append(self._part(kind, column, offset))
            offset += size if kind is Gaussian else 0
        return Product(dists, self.sizes, self.widths)

    def _part(self, kind: Any, outputs: Tensor, offset: int) -> Distribution:
        if kind is Categorical:
            outputs = outputs / self.temperature if self.temperature != 1 else outputs
            return Categorical(outputs, likeliest(outputs, self.top_k, self.top_p))
        if kind is not Gaussian:
            return kind(outputs)
        assert self.log_std is not None
        where = slice(offset, offset + outputs.shape[-1])
        log_std = self.log_std[where].clamp(*LOG_STD_RANGE)
        if not self.squash:
            return Gaussian(outputs, log_std)
        return SquashedGaussian(outputs, log_std, self.scale[where].log())

    def noise(self, *batch: int, deterministic: bool = False) -> Tensor:
        """Return noise (*batch, num_outputs) for `Distribution.sample`, neutral where nothing is left to chance."""
        noise = torch.empty(*batch, self.num_outputs, device=self.low.device)
        for (kind, _), column in zip(self.parts, noise.split(self.sizes, dim=-1), strict=True):
            column.fill_(kind.neutral) if deterministic else kind.draw(column)
        return noise

    def some_allowed(self, mask: Tensor) -> Tensor:
        """Say for each row of a mask (…, num_outputs) bool whether every part has a choice that is allowed, (…,) bool."""
        return torch.stack([column.any(-1) for column in mask.split(self.sizes, dim=-1)]).all(0)

    def to_env(self, actions: Tensor) -> Any:
        """Turn packed actions (N, …) into what `VectorEnv.step` takes, with offsets, bounds and dtypes applied."""
        packed = actions.cpu().numpy()
        if not isinstance(self.space, Dict | Tuple):
            return self._leaf_to_env(self.space, packed, self.units[0])
        return self._rebuild(self.space, zip(np.split(packed, self.ends, axis=-1), self.units, strict=True))

    def _rebuild(self, space: Space[Any], columns: Iterator[Any]) -> Any:
        if isinstance(space, Dict):
            return {key: self._rebuild(part, columns) for key, part in parts(space)}
        if isinstance(space, Tuple):
            return tuple(self._rebuild(part, columns) for _, part in parts(space))
        return self._leaf_to_env(space, *next(columns))

    def _leaf_to_env(self, leaf: Any, packed: np.ndarray, units: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        packed = packed.reshape(-1, *leaf.shape).astype(leaf.dtype, copy=False)
        if units is not None:
            middle, half = units
            packed = middle + half * (np.tanh(packed) if self.squash else packed)
            return np.minimum(np.maximum(packed, leaf.low), leaf.high)  # np.clip, at a third of its overhead
        return packed if isinstance(leaf, MultiBinary) else packed + leaf.start

    def clipped_fraction(self, actions: Tensor) -> Tensor | None:
        """Return the share of Box numbers out of bounds in packed actions (…, D); None where nothing is clipped."""
        if self.log_std is None or self.squash:
            return None
        columns = actions.split(self.widths, dim=-1)
        box = torch.cat([c for (kind, _), c in zip(self.parts, columns, strict=True) if kind is Gaussian], dim=-1)
        return ((box < self.low) | (box > self.high)).float().mean()


def _units(leaf: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and half of the range of each number of a Box; 0 and 1 where it has no range."""
    low, high = leaf.low.astype(np.float64), leaf.high.astype(np.float64)
    half = high / 2 - low / 2
    bounded = half < WIDEST  # False for infinity
    middle = np.where(bounded, np.where(bounded, low, 0) / 2 + np.where(bounded, high, 0) / 2, 0)
    return middle.astype(leaf.dtype), np.where(bounded & (half > 0), half, 1).astype(leaf.dtype)
