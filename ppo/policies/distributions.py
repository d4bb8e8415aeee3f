"""Distributions over packed actions: sample, log-probability and entropy, for any batch dimensions.

A sample is a function of the distribution and of noise that is drawn beforehand, for a whole rollout at once
(`Head.noise`). Neutral noise gives the action to take without chance: the most probable one, or the Gaussian's mean.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

DROPPED = -1e30  # a log-probability that is finite, so that probability 0 times it is 0 and not NaN
HERMITE_NODES = 32  # the squashed Gaussian's entropy, within 1e-3 for deviations up to 2, within 0.1 up to 7


class Distribution(Protocol):
    """A distribution over packed actions; every result has the batch dimensions of what it was built from."""

    def sample(self, noise: Tensor) -> Tensor:
        """Return the packed action (…, *action) that noise (…, num_outputs) leads to, without a gradient."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) of packed actions, without the action's dimension."""

    def entropy(self) -> Tensor:
        """Return the entropy in nats, without the action's dimension."""


def likeliest(logits: Tensor, top_k: int, top_p: float) -> Tensor | None:
    """Return (…, A) bool, the entries that top-k and then top-p sampling keep (Holtzman et al. 2020); None: all."""
    kept = None
    if 0 < top_k < logits.shape[-1]:
        kept = logits >= logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(~kept, -torch.inf)
    if top_p < 1:
        probs, order = logits.softmax(-1).sort(descending=True, stable=True)
        enough = probs.cumsum(-1) - probs < top_p  # what stands before it does not suffice
        kept = torch.zeros_like(enough).scatter(-1, order, enough & (probs > 0))
    return kept


class Categorical:
    """Distribution over indices, from unnormalised logits (…, A); actions are (…,) int64.

    Args:
        logits: (…, A).
        kept: (…, A) bool, the entries that may be sampled; None: all. An action that was sampled before it fell out has
            the probability it would have beside those that are kept, so that a ratio stays finite.
    """

    draw, neutral = Tensor.exponential_, 1.0

    def __init__(self, logits: Tensor, kept: Tensor | None = None) -> None:
        self.kept = kept
        if kept is not None:
            self.whole = logits.log_softmax(-1)  # (…, A)
            logits = logits.masked_fill(~kept, DROPPED)
        self.log_probs = F.log_softmax(logits, dim=-1)  # (…, A)

    def sample(self, noise: Tensor) -> Tensor:
        # Of A exponential clocks with rates p, the first to ring is a with probability p[a]; a rate of 0 never rings.
        return (self.log_probs.exp() / noise).argmax(-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        index = actions.long().unsqueeze(-1)
        found = self.log_probs.gather(-1, index)
        if self.kept is not None:
            alone = self.whole.gather(-1, index)
            rest = self.whole.masked_fill(~self.kept, DROPPED).logsumexp(-1, keepdim=True)
            found = torch.where(self.kept.gather(-1, index), found, alone - torch.logaddexp(rest, alone))
        return found.squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


class Bernoulli:
    """Independent bits, from logits (…, K); actions are (…, K) of 0 and 1."""

    draw, neutral = Tensor.uniform_, 0.5

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def sample(self, noise: Tensor) -> Tensor:
        return (noise < self.logits.sigmoid()).to(self.logits.dtype)

    def log_prob(self, actions: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, actions.to(self.logits.dtype), reduction="none").sum(-1)

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.logits.sigmoid(), reduction="none").sum(-1)


class Gaussian:
    """Diagonal Gaussian with mean (…, K) and log standard deviation (K,)."""

    draw, neutral = Tensor.normal_, 0.0

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.log_std.exp() * noise

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
    """Independent parts side by side: log-probabilities and entropies add.

    Args:
        dists: the parts.
        sizes: numbers of noise that each takes.
        widths: numbers of a packed action that each gives.
    """

    def __init__(self, dists: list[Distribution], sizes: list[int], widths: list[int]) -> None:
        self.dists, self.sizes, self.widths = dists, sizes, widths

    def sample(self, noise: Tensor) -> Tensor:
        draws = [dist.sample(part) for dist, part in zip(self.dists, noise.split(self.sizes, dim=-1), strict=True)]
        return torch.cat([d if d.dim() == noise.dim() else d.unsqueeze(-1) for d in draws], dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        columns = actions.split(self.widths, dim=-1)
        terms = [
            dist.log_prob(column.squeeze(-1) if isinstance(dist, Categorical) else column)
            for dist, column in zip(self.dists, columns, strict=True)
        ]
        return torch.stack(terms).sum(0)

    def entropy(self) -> Tensor:
        return torch.stack([dist.entropy() for dist in self.dists]).sum(0)
