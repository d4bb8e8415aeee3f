"""Heads: an action space becomes a distribution, and a sample of it becomes an action of the environment.

Actions are *packed* like observations: Discrete is one index, everything else a vector; the parts of a Dict or Tuple
stand side by side, and their log-probabilities and entropies add.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from torch import Tensor, nn

from ppo.envs.spaces import check_action_space, leaf_size, leaves, parts
from ppo.errors import UsageError
from ppo.policies.distributions import Bernoulli, Categorical, Distribution, Gaussian, Product, SquashedGaussian

LOG_STD_RANGE = (-10.0, 2.0)  # a deviation from 5e-5 to 7.4: beyond, float32 log-probabilities lose their meaning
MASKED = -1e30  # finite, so that probability 0 times it is 0 and not NaN


class Head(nn.Module):
    """Turn `num_outputs` numbers of a network into a distribution over the actions of a space.

    Args:
        action_space: Discrete, MultiDiscrete, MultiBinary, Box of floats, or a Dict or Tuple of these.
        action_bound: "clip" a bounded Box's sample to its bounds, or squash it by "tanh".
        log_std_init: initial log standard deviation of Box actions; it is a parameter that no observation changes.
        mask_size: width of the action mask in the observation, 0 without one.

    Raises:
        UsageError: an unsupported part of the space, or a mask that does not fit it.
    """

    low: Tensor  # (K,) bounds of the numbers of all Box leaves
    high: Tensor  # (K,)

    def __init__(
        self, action_space: Space[Any], action_bound: str = "clip", log_std_init: float = 0.0, mask_size: int = 0
    ) -> None:
        super().__init__()
        check_action_space(action_space, action_bound)
        self.space, self.squash = action_space, action_bound == "tanh"
        self.parts: list[tuple[Any, int]] = []  # (distribution, outputs of the network), in packing order
        low, high = [], []
        for _, leaf in leaves(action_space):
            if isinstance(leaf, Box):
                self.parts.append((Gaussian, leaf_size(leaf)))
                low.append(leaf.low.ravel())
                high.append(leaf.high.ravel())
            elif isinstance(leaf, MultiBinary):
                self.parts.append((Bernoulli, leaf_size(leaf)))
            else:
                sizes = [leaf.n] if isinstance(leaf, Discrete) else leaf.nvec.ravel()  # type: ignore[attr-defined]
                self.parts += [(Categorical, int(size)) for size in sizes]
        self.sizes = [size for _, size in self.parts]
        self.num_outputs = sum(self.sizes)
        self.widths = [1 if kind is Categorical else size for kind, size in self.parts]
        self.ends = np.cumsum([leaf_size(leaf) for _, leaf in leaves(action_space)])[:-1]  # of a leaf's packed numbers
        self.log_std = nn.Parameter(torch.full((sum(len(x) for x in low),), log_std_init)) if low else None
        self.register_buffer("low", torch.as_tensor(np.concatenate(low or [np.zeros(0)]), dtype=torch.float32), False)
        self.register_buffer("high", torch.as_tensor(np.concatenate(high or [np.zeros(0)]), dtype=torch.float32), False)
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
            outputs = outputs.masked_fill(~allowed, MASKED)
        if len(self.parts) == 1 and (isinstance(self.space, Discrete) or self.parts[0][0] is not Categorical):
            return self._part(self.parts[0][0], outputs, 0)
        dists, offset = [], 0
        for (kind, size), column in zip(self.parts, outputs.split(self.sizes, dim=-1), strict=True):
            dists.append(self._part(kind, column, offset))
            offset += size if kind is Gaussian else 0
        return Product(dists, self.sizes, self.widths)

    def _part(self, kind: Any, outputs: Tensor, offset: int) -> Distribution:
        if kind is not Gaussian:
            return kind(outputs)
        assert self.log_std is not None
        where = slice(offset, offset + outputs.shape[-1])
        log_std = self.log_std[where].clamp(*LOG_STD_RANGE)
        if not self.squash:
            return Gaussian(outputs, log_std)
        return SquashedGaussian(outputs, log_std, ((self.high[where] - self.low[where]) / 2).log())

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
            return self._leaf_to_env(self.space, packed)
        return self._rebuild(self.space, iter(np.split(packed, self.ends, axis=-1)))

    def _rebuild(self, space: Space[Any], columns: Iterator[np.ndarray]) -> Any:
        if isinstance(space, Dict):
            return {key: self._rebuild(part, columns) for key, part in parts(space)}
        if isinstance(space, Tuple):
            return tuple(self._rebuild(part, columns) for _, part in parts(space))
        return self._leaf_to_env(space, next(columns))

    def _leaf_to_env(self, leaf: Any, packed: np.ndarray) -> np.ndarray:
        packed = packed.reshape(-1, *leaf.shape).astype(leaf.dtype, copy=False)
        if isinstance(leaf, Box):
            if self.squash:
                packed = leaf.low + (leaf.high - leaf.low) * (np.tanh(packed) + 1) / 2
            return np.minimum(np.maximum(packed, leaf.low), leaf.high)  # np.clip, at a third of its overhead
        return packed if isinstance(leaf, MultiBinary) else packed + leaf.start

    def clipped_fraction(self, actions: Tensor) -> Tensor | None:
        """Return the share of Box numbers out of bounds in packed actions (…, D); None where nothing is clipped."""
        if self.log_std is None or self.squash:
            return None
        columns = actions.split(self.widths, dim=-1)
        box = torch.cat([c for (kind, _), c in zip(self.parts, columns, strict=True) if kind is Gaussian], dim=-1)
        return ((box < self.low) | (box > self.high)).float().mean()
