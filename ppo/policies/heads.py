"""Heads: an action space becomes a distribution, and a sample of it becomes an action of the environment.

Actions are *packed* like observations: Discrete is one index, everything else a vector; the parts of a Dict or Tuple stand
side by side, and their log-probabilities and entropies add. A distribution offers sample, mode, log_prob and entropy.
"""

import math
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from torch import Tensor, nn
from torch.nn import functional as F

from ppo.envs.spaces import check_action_space, leaf_size, leaves, parts
from ppo.errors import UsageError

LOG_STD_RANGE = (-10.0, 2.0)  # a deviation from 5e-5 to 7.4: beyond, float32 log-probabilities lose their meaning
MASKED = -1e30  # finite, so that probability 0 times it is 0 and not NaN
HERMITE_NODES = 32  # the squashed Gaussian's entropy, within 1e-3 for deviations up to 2


class Distribution(Protocol):
    """A distribution over packed actions; every result has the batch dimensions of what it was built from."""

    def sample(self) -> Tensor:
        """Draw one packed action for each row."""

    def mode(self) -> Tensor:
        """Return the most probable packed action of each row."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) of packed actions, without the action's dimension."""

    def entropy(self) -> Tensor:
        """Return the entropy in nats, without the action's dimension."""


class Categorical:
    """Distribution over indices, from unnormalised logits (…, A); actions are (…,) int64."""

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = F.log_softmax(logits, dim=-1)  # (…, A)

    def sample(self) -> Tensor:
        # The first of A exponential clocks with rates p rings at index a with probability p[a]; a rate of 0 never rings.
        return (self.log_probs.exp() / torch.empty_like(self.log_probs).exponential_()).argmax(-1)

    def mode(self) -> Tensor:
        return self.log_probs.argmax(-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


class Bernoulli:
    """Independent bits, from logits (…, K); actions are (…, K) of 0 and 1."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def sample(self) -> Tensor:
        return (torch.rand_like(self.logits) < self.logits.sigmoid()).to(self.logits.dtype)

    def mode(self) -> Tensor:
        return (self.logits > 0).to(self.logits.dtype)

    def log_prob(self, actions: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, actions.to(self.logits.dtype), reduction="none").sum(-1)

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.logits.sigmoid(), reduction="none").sum(-1)


class Gaussian:
    """Diagonal Gaussian with mean (…, K) and log standard deviation (K,)."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    def sample(self) -> Tensor:
        return self.mean + self.log_std.exp() * torch.randn_like(self.mean)

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        z = (actions - self.mean) * torch.exp(-self.log_std)
        return -0.5 * (z * z).sum(-1) - (self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1).expand(self.mean.shape[:-1])


class SquashedGaussian(Gaussian):
    """Gaussian u whose action is a = low + (high − low)(tanh u + 1)/2; packed actions are u, which inverts exactly.

    log π(a) = log N(u) − Σ log |da/du| with da/du = (high − low)/2 · (1 − tanh² u) (Haarnoja et al. 2018, appendix C).
    The entropy has no closed form; Gauss–Hermite quadrature gives it without a sample.
    """

    def __init__(self, mean: Tensor, log_std: Tensor, log_scale: Tensor) -> None:
        super().__init__(mean, log_std)
        self.log_scale = log_scale  # (K,) log((high − low)/2)

    def _log_slope(self, u: Tensor) -> Tensor:
        return self.log_scale + 2 * (math.log(2) - u - F.softplus(-2 * u))  # log(1 − tanh² u) without cancellation

    def log_prob(self, actions: Tensor) -> Tensor:
        return super().log_prob(actions) - self._log_slope(actions).sum(-1)

    def entropy(self) -> Tensor:
        nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
        z = torch.as_tensor(nodes, dtype=self.mean.dtype, device=self.mean.device)
        w = torch.as_tensor(weights / weights.sum(), dtype=self.mean.dtype, device=self.mean.device)
        u = self.mean.unsqueeze(-1) + self.log_std.exp().unsqueeze(-1) * z  # (…, K, Q)
        slope = 2 * (math.log(2) - u - F.softplus(-2 * u))
        return super().entropy() + (self.log_scale + slope @ w).sum(-1)


class Product:
    """Independent parts side by side: log-probabilities and entropies add."""

    def __init__(self, dists: list[Distribution], widths: list[int]) -> None:
        self.dists, self.widths = dists, widths

    def _join(self, draws: list[Tensor]) -> Tensor:
        columns = [
            draw.unsqueeze(-1) if isinstance(dist, Categorical) else draw
            for dist, draw in zip(self.dists, draws, strict=True)
        ]
        same = all(isinstance(dist, Categorical) for dist in self.dists)
        return torch.cat(columns if same else [column.float() for column in columns], dim=-1)

    def sample(self) -> Tensor:
        return self._join([dist.sample() for dist in self.dists])

    def mode(self) -> Tensor:
        return self._join([dist.mode() for dist in self.dists])

    def log_prob(self, actions: Tensor) -> Tensor:
        columns = actions.split(self.widths, dim=-1)
        terms = [
            dist.log_prob(column.squeeze(-1) if isinstance(dist, Categorical) else column)
            for dist, column in zip(self.dists, columns, strict=True)
        ]
        return torch.stack(terms).sum(0)

    def entropy(self) -> Tensor:
        return torch.stack([dist.entropy() for dist in self.dists]).sum(0)


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

    def __init__(
        self, action_space: Space[Any], action_bound: str = "clip", log_std_init: float = 0.0, mask_size: int = 0
    ) -> None:
        super().__init__()
        check_action_space(action_space, action_bound)
        self.space, self.squash = action_space, action_bound == "tanh"
        self.parts: list[tuple[type, int]] = []  # (distribution, outputs of the network), in packing order
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
        self.num_outputs = sum(size for _, size in self.parts)
        self.widths = [1 if kind is Categorical else size for kind, size in self.parts]
        self.log_std = nn.Parameter(torch.full((sum(len(x) for x in low),), log_std_init)) if low else None
        self.register_buffer("low", torch.as_tensor(np.concatenate(low or [np.zeros(0)]), dtype=torch.float32), False)
        self.register_buffer("high", torch.as_tensor(np.concatenate(high or [np.zeros(0)]), dtype=torch.float32), False)
        choices = self.num_outputs if isinstance(action_space, Discrete | MultiDiscrete) else 0
        if mask_size and mask_size != choices:
            raise UsageError(
                f"action_mask has {mask_size} entries but the action space {action_space} has "
                f"{choices or 'no'} choices to mask; give one entry for each choice of a Discrete or MultiDiscrete space"
            )

    def forward(self, outputs: Tensor, mask: Tensor | None = None) -> Distribution:
        """Build the distribution.

        Args:
            outputs: (…, num_outputs) of the network.
            mask: (…, num_outputs) bool, True where a choice is allowed; a part with none allowed is left unmasked
                (the collector has refused it unless the row is no decision).
        """
        sizes = [size for _, size in self.parts]
        if mask is not None:
            allowed = torch.cat([m | ~m.any(-1, keepdim=True) for m in mask.split(sizes, dim=-1)], dim=-1)
            outputs = outputs.masked_fill(~allowed, MASKED)
        if len(self.parts) == 1:
            return self._part(self.parts[0][0], outputs, 0)
        dists, offset = [], 0
        for (kind, size), column in zip(self.parts, outputs.split(sizes, dim=-1), strict=True):
            dists.append(self._part(kind, column, offset))
            offset += size if kind is Gaussian else 0
        return Product(dists, self.widths)

    def _part(self, kind: type, outputs: Tensor, offset: int) -> Distribution:
        if kind is not Gaussian:
            return kind(outputs)
        assert self.log_std is not None
        where = slice(offset, offset + outputs.shape[-1])
        log_std = self.log_std[where].clamp(*LOG_STD_RANGE)
        if not self.squash:
            return Gaussian(outputs, log_std)
        return SquashedGaussian(outputs, log_std, ((self.high[where] - self.low[where]) / 2).log())

    def to_env(self, actions: Tensor) -> Any:
        """Turn packed actions (N, …) into what `VectorEnv.step` takes: arrays with offsets, bounds and dtypes applied."""
        if isinstance(self.space, Discrete):
            return actions.cpu().numpy() + self.space.start
        bounded = self._bound(actions)
        columns = iter(bounded.split([leaf_size(leaf) for _, leaf in leaves(self.space)], dim=-1))
        return _rebuild(self.space, columns)

    def _bound(self, actions: Tensor) -> Tensor:
        if self.log_std is None:
            return actions
        kinds = [kind is Gaussian for kind, _ in self.parts]
        columns, offset = list(actions.split(self.widths, dim=-1)), 0
        for i, column in enumerate(columns):
            if kinds[i]:
                low, high = (b[offset : offset + column.shape[-1]] for b in (self.low, self.high))
                squashed = low + (high - low) * (column.tanh() + 1) / 2 if self.squash else column
                columns[i] = torch.clamp(squashed, low, high)
                offset += column.shape[-1]
        return torch.cat(columns, dim=-1)

    def clipped_fraction(self, actions: Tensor) -> Tensor | None:
        """Return the share of Box numbers outside their bounds in packed actions (…, D); None where nothing is clipped."""
        if self.log_std is None or self.squash:
            return None
        columns = actions.split(self.widths, dim=-1)
        box = torch.cat([c for (kind, _), c in zip(self.parts, columns, strict=True) if kind is Gaussian], dim=-1)
        return ((box < self.low) | (box > self.high)).float().mean()


def _rebuild(space: Space[Any], columns: Any) -> Any:
    if isinstance(space, Dict):
        return {key: _rebuild(part, columns) for key, part in parts(space)}
    if isinstance(space, Tuple):
        return tuple(_rebuild(part, columns) for _, part in parts(space))
    column = next(columns).cpu().numpy()
    if isinstance(space, Discrete):
        return column[:, 0].astype(space.dtype) + space.start
    start = space.start if isinstance(space, MultiDiscrete) else 0
    return (column.reshape(-1, *space.shape) + start).astype(space.dtype)  # type: ignore[misc]
