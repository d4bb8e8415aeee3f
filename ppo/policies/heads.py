"""Heads: an action space becomes a distribution, and a sample of it becomes an action of the environment.

Actions are *packed* like observations: Discrete is one index, everything else a vector; the leaves of a Dict or Tuple
stand side by side, and their log-probabilities and entropies add.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from ppo.envs.spaces import check_space, is_nested, leaves, nest
from ppo.errors import UsageError
from ppo.policies.distributions import (
    DROPPED,
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    Product,
    SquashedGaussian,
    top_k_top_p,
)

LOG_STD_RANGE = (-10.0, 2.0)  # deviations from 5e-5 to 7.4; beyond them float32 log-probabilities are inexact


class Bounded(torch.autograd.Function):
    """Clamp numbers to bounds, beyond which only the gradient that leads back remains; that of `clamp` is 0, so they would stay there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        """Return x (…) in [low, high]."""
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient (…), 0 where a step along it would lead farther out."""
        (x,), (low, high) = ctx.saved_tensors, ctx.bounds
        outwards = (x > high) & (gradient < 0) | (x < low) & (gradient > 0)
        return gradient.masked_fill(outwards, 0.0), None, None


class Factor(NamedTuple):
    """One independent factor of the action distribution."""

    kind: Any  # class of the distribution
    build: Callable[["Head", Tensor, slice], Distribution]  # from outputs (…, size) and the columns of log_std
    size: int  # outputs of the network, and numbers of noise
    numbers: slice  # its columns of log_std


class Head(nn.Module):
    """Turn `num_outputs` numbers of a network into a distribution over the actions of a space.

    Numbers of a bounded Box are packed in units of half their range from its middle, so that −1 and 1 are the bounds and
    a deviation means the same everywhere. Densities are those of the units; with tanh, those of the action.

    Args:
        action_space: Discrete, MultiDiscrete, MultiBinary, Box of floats, or a Dict or Tuple of these.
        mask_size: width of the action mask in the observation, 0 without one.
        action_bound: "clip" the sample of a bounded Box to its bounds, or squash it by "tanh".
        log_std_init: initial log standard deviation of Box actions, a parameter that does not depend on the observation.
            "auto" is −½ log K for K action dimensions, so that the noise vector has norm about 1: noise that suits
            Hopper's 3 joints drowns out Ant's 8.
        temperature: divides the logits of choices.
        top_k: sample only the k most probable choices; 0: all.
        top_p: sample only the most probable choices that together have this probability; 1: all.
        options: options of other parts of the policy; ignored.

    Temperature, top-k and top-p are part of the distribution: log-probabilities are those of the sampling, in training
    as well.

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
        **options: Any,
    ) -> None:
        super().__init__()
        self.space, self.squash = action_space, action_bound == "tanh"
        check_space(action_space, "action", self.squash)
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.leaves = [leaf for _, leaf in leaves(action_space)]
        self.factors = self._factors()
        self.sizes = [factor.size for factor in self.factors]
        self.widths = [factor.size if factor.kind.event_dim else 1 for factor in self.factors]
        self.num_outputs = sum(self.sizes)
        ends = np.cumsum([leaf.size for leaf in self.leaves]).tolist()
        self.columns = list(map(slice, [0, *ends[:-1]], ends))  # of each leaf in a packed action
        bounds = np.concatenate([leaf.bounds for leaf in self.leaves], axis=1)  # (3, K)
        numbers = bounds.shape[1]
        log_std = -0.5 * math.log(max(numbers, 1)) if log_std_init == "auto" else log_std_init
        self.log_std = nn.Parameter(torch.full((numbers,), log_std)) if numbers else None
        for name, row in zip(("low", "high", "scale"), bounds, strict=True):
            self.register_buffer(name, torch.as_tensor(row, dtype=torch.float32), persistent=False)
        self.nested = is_nested(action_space)
        self.is_vector = self.nested or not self.leaves[0].is_index  # the packed action has a dimension
        choices = 0 if self.nested or any(f.kind is not Categorical for f in self.factors) else self.num_outputs
        if mask_size and mask_size != choices:
            raise UsageError(
                f"action_mask has {mask_size} entries but the action space {action_space} has "
                f"{choices or 'no'} choices to mask; give one entry per choice of a Discrete or MultiDiscrete space",
                page="environments#action-masks",
            )

    def _factors(self) -> list[Factor]:
        factors, begin = [], 0
        for leaf in self.leaves:
            end = begin + leaf.bounds.shape[1]
            factors += [Factor(*KINDS[name], size, slice(begin, end)) for name, size in leaf.factors]
            begin = end
        return factors

    def _categorical(self, outputs: Tensor, _: slice) -> Distribution:
        outputs = outputs / self.temperature if self.temperature != 1 else outputs
        return Categorical(outputs, top_k_top_p(outputs, self.top_k, self.top_p))

    def _bernoulli(self, outputs: Tensor, _: slice) -> Distribution:
        return Bernoulli(outputs)

    def _gaussian(self, outputs: Tensor, numbers: slice) -> Distribution:
        assert self.log_std is not None
        log_std = Bounded.apply(self.log_std[numbers], *LOG_STD_RANGE)
        if not self.squash:
            return Gaussian(outputs, log_std)
        return SquashedGaussian(outputs, log_std, self.scale[numbers].log())

    def forward(self, outputs: Tensor, mask: Tensor | None = None) -> Distribution:
        """Build the distribution.

        Args:
            outputs: (…, num_outputs) of the network.
            mask: (…, num_outputs) bool, True where a choice is allowed; a factor with no choice allowed is not masked
                (the collector refuses such a mask unless the row is not a decision).
        """
        outputs = outputs.to(self.low.dtype)  # also where the network computes in bfloat16
        if mask is not None:
            allowed = torch.cat([m | ~m.any(-1, keepdim=True) for m in mask.split(self.sizes, dim=-1)], dim=-1)
            outputs = outputs.masked_fill(~allowed, DROPPED)
        first = self.factors[0]
        if len(self.factors) == 1 and first.kind.event_dim == self.is_vector:
            return first.build(self, outputs, first.numbers)
        columns = zip(self.factors, outputs.split(self.sizes, dim=-1), strict=True)
        return Product([factor.build(self, x, factor.numbers) for factor, x in columns], self.sizes, self.widths)

    def noise(self, *batch: int, deterministic: bool = False) -> Tensor:
        """Return noise (*batch, num_outputs) for `Distribution.sample`; deterministic: for its mode."""
        noise = torch.empty(*batch, self.num_outputs, device=self.low.device)
        for factor, column in zip(self.factors, noise.split(self.sizes, dim=-1), strict=True):
            column.fill_(factor.kind.neutral) if deterministic else factor.kind.draw(column)
        return noise

    def some_allowed(self, mask: Tensor) -> Tensor:
        """Return for each row of a mask (…, num_outputs) bool whether every factor has a choice allowed, (…,) bool."""
        return torch.stack([column.any(-1) for column in mask.split(self.sizes, dim=-1)]).all(0)

    def to_env(self, actions: Tensor) -> Any:
        """Return packed actions (N, …) as `VectorEnv.step` takes them, with offsets, bounds and dtypes applied."""
        values = self.leaves_to_env(actions.cpu().numpy())
        return nest(self.space, iter(values)) if self.nested else values[0]

    def leaves_to_env(self, packed: Any) -> list[Any]:
        """Return what each leaf sends to the environment, (N, *shape), of packed actions (N, …), NumPy or torch."""
        if not self.nested:
            return [self.leaves[0].to_env(packed, self.squash)]
        columns = zip(self.leaves, self.columns, strict=True)
        return [leaf.to_env(packed[:, column], self.squash) for leaf, column in columns]

    def from_env(self, values: list[np.ndarray]) -> Tensor:
        """Return actions of the environment as packed, (N, …): the inverse of `leaves_to_env`.

        Args:
            values: of each leaf, (N, *shape).
        """
        columns = [torch.from_numpy(leaf.from_env(x, self.squash)) for leaf, x in zip(self.leaves, values, strict=True)]
        return torch.cat(columns, dim=1) if self.is_vector else columns[0].squeeze(1)

    def clipped_fraction(self, actions: Tensor) -> Tensor | None:
        """Return the share of Box numbers out of bounds in packed actions (…, D); None if nothing is clipped."""
        if self.log_std is None or self.squash:
            return None
        columns = zip(self.factors, actions.split(self.widths, dim=-1), strict=True)
        numbers = torch.cat([column for factor, column in columns if factor.kind is Gaussian], dim=-1)
        return ((numbers < self.low) | (numbers > self.high)).float().mean()


KINDS: dict[str, tuple[Any, Callable[[Head, Tensor, slice], Distribution]]] = {
    "categorical": (Categorical, Head._categorical),
    "bernoulli": (Bernoulli, Head._bernoulli),
    "gaussian": (Gaussian, Head._gaussian),
}
