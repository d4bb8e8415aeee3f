"""Distributions over packed actions: sample, log-probability and entropy, for any batch dimensions.

A sample is a function of the distribution and of noise, which is drawn for a whole rollout at once (`Head.noise`).
Neutral noise gives the mode: the most probable choices, the mean of a Gaussian.
"""

import math
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

DROPPED = -1e30  # logit of an excluded choice; finite, so that its probability 0 times it is 0 and not NaN
HERMITE_NODES = 32  # error of the squashed Gaussian's entropy: 1e-3 for deviations up to 2, 0.1 up to 7


class Distribution(Protocol):
    """A distribution over packed actions, with batch dimensions (…)."""

    def sample(self, noise: Tensor) -> Tensor:
        """Return the packed action (…, *action) for noise (…, num_outputs), without a gradient."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) (…) of packed actions (…, *action)."""

    def entropy(self) -> Tensor:
        """Return the entropy (…) in nats."""

    def parameters(self) -> Tensor:
        """Return the numbers that tell it from others over the same actions, (…, K), for `divergence`."""

    def divergence(self, parameters: Tensor) -> Tensor:
        """Return KL(this ‖ other) (…) in nats, of the `parameters` (…, K) of the other."""


def top_k_top_p(logits: Tensor, top_k: int, top_p: float) -> Tensor | None:
    """Return a mask (…, A) bool of the choices that top-k, then top-p sampling allows (Holtzman et al. 2020).

    Args:
        logits: (…, A).
        top_k: allow the k most probable choices; 0: all.
        top_p: allow the most probable choices that together have this probability; 1: all.

    Returns:
        The mask, or None if all choices are allowed.
    """
    mask = None
    if 0 < top_k < logits.shape[-1]:
        mask = logits >= logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(~mask, -torch.inf)
    if top_p < 1:
        probs, order = logits.softmax(-1).sort(descending=True, stable=True)
        needed = probs.cumsum(-1) - probs < top_p  # the more probable ones have less than top_p
        mask = torch.zeros_like(needed).scatter(-1, order, needed & (probs > 0))
    return mask


class Categorical:
    """Distribution over indices, from unnormalised logits (…, A); actions are (…,) int64.

    Args:
        logits: (…, A).
        mask: (…, A) bool, the choices that may be sampled; None: all. An action that was sampled but has since left the
            mask keeps the probability it would have if added back, so that the ratio stays finite.
    """

    draw, neutral, event_dim = Tensor.exponential_, 1.0, 0

    def __init__(self, logits: Tensor, mask: Tensor | None = None) -> None:
        self.mask = mask
        if mask is not None:
            self.unmasked = logits.log_softmax(-1)  # (…, A)
            logits = logits.masked_fill(~mask, DROPPED)
        self.log_probs = F.log_softmax(logits, dim=-1)  # (…, A)

    def sample(self, noise: Tensor) -> Tensor:
        """Return indices (…,) for exponential noise (…, A)."""
        # The first of A exponential clocks with rates p to ring is a with probability p[a]; a rate of 0 never rings.
        return (self.log_probs.exp() / noise).argmax(-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) (…,) of indices (…,)."""
        index = actions.long().unsqueeze(-1)
        log_prob = self.log_probs.gather(-1, index)
        if self.mask is not None:
            alone = self.unmasked.gather(-1, index)
            allowed = self.unmasked.masked_fill(~self.mask, DROPPED).logsumexp(-1, keepdim=True)
            added_back = alone - torch.logaddexp(allowed, alone)
            log_prob = torch.where(self.mask.gather(-1, index), log_prob, added_back)
        return log_prob.squeeze(-1)

    def entropy(self) -> Tensor:
        """Return −Σ p log p (…,)."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)

    def parameters(self) -> Tensor:
        """Return log p (…, A)."""
        return self.log_probs

    def divergence(self, parameters: Tensor) -> Tensor:
        """Return Σ p (log p − log q) (…,) for log q (…, A)."""
        return (self.log_probs.exp() * (self.log_probs - parameters)).sum(-1)


class Bernoulli:
    """Independent bits, from logits (…, K); actions are (…, K) of 0 and 1."""

    draw, neutral, event_dim = Tensor.uniform_, 0.5, 1

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def sample(self, noise: Tensor) -> Tensor:
        """Return bits (…, K) for uniform noise (…, K)."""
        return (noise < self.logits.sigmoid()).to(self.logits.dtype)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) (…,) of bits (…, K)."""
        return -F.binary_cross_entropy_with_logits(self.logits, actions.to(self.logits.dtype), reduction="none").sum(-1)

    def entropy(self) -> Tensor:
        """Return the sum of the bits' entropies (…,)."""
        return F.binary_cross_entropy_with_logits(self.logits, self.logits.sigmoid(), reduction="none").sum(-1)

    def parameters(self) -> Tensor:
        """Return the logits (…, K)."""
        return self.logits

    def divergence(self, parameters: Tensor) -> Tensor:
        """Return the sum of the bits' divergences (…,), p (l − m) + log(1 + eᵐ) − log(1 + eˡ) for logits l, and m (…, K) of the other."""
        own = self.logits
        return (own.sigmoid() * (own - parameters) + F.softplus(parameters) - F.softplus(own)).sum(-1)


class Gaussian:
    """Diagonal Gaussian with mean (…, K) and log standard deviation (K,)."""

    draw, neutral, event_dim = Tensor.normal_, 0.0, 1

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        """Return numbers (…, K) for normal noise (…, K)."""
        return self.mean + self.log_std.exp() * noise

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) (…,) = Σ −½ z² − log σ − ½ log 2π of numbers (…, K), with z = (a − μ)/σ."""
        z = (actions - self.mean) * torch.exp(-self.log_std)
        return -0.5 * (z * z).sum(-1) - (self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """Return Σ log σ + ½ log 2πe (…,)."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1).expand(self.mean.shape[:-1])

    def parameters(self) -> Tensor:
        """Return μ and log σ side by side, (…, 2 K)."""
        return torch.cat([self.mean, self.log_std.expand_as(self.mean)], -1)

    def divergence(self, parameters: Tensor) -> Tensor:
        """Return Σ log (ρ / σ) + (σ² + (μ − ν)²) / 2ρ² − ½ (…,) for mean ν and deviation ρ of the other; tanh of both changes nothing."""
        mean, log_std = parameters.chunk(2, -1)
        spread, shift = torch.exp(2 * (self.log_std - log_std)), (self.mean - mean) * torch.exp(-log_std)
        return (log_std - self.log_std + 0.5 * (spread + shift * shift - 1)).sum(-1)


class SquashedGaussian(Gaussian):
    """Gaussian u with the action a = low + (high − low)(tanh u + 1)/2; packed actions are u, so nothing is inverted.

    log π(a) = log N(u) − Σ log |da/du| with da/du = (high − low)/2 · (1 − tanh² u) (Haarnoja et al. 2018, appendix C).
    The entropy has no closed form; it is computed by Gauss–Hermite quadrature.
    """

    def __init__(self, mean: Tensor, log_std: Tensor, log_scale: Tensor) -> None:
        super().__init__(mean, log_std)
        self.log_scale = log_scale  # (K,) log((high − low)/2)

    def _log_slope(self, u: Tensor) -> Tensor:
        return self.log_scale + 2 * (math.log(2) - u - F.softplus(-2 * u))  # log(1 − tanh² u) without cancellation

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log π(a) (…,) of u (…, K)."""
        return super().log_prob(actions) - self._log_slope(actions).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy of a (…,) = H(u) + Σ E[log |da/du|]."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
        z = torch.as_tensor(nodes, dtype=self.mean.dtype, device=self.mean.device)
        w = torch.as_tensor(weights / weights.sum(), dtype=self.mean.dtype, device=self.mean.device)
        u = self.mean.unsqueeze(-1) + self.log_std.exp().unsqueeze(-1) * z  # (…, K, Q)
        slope = 2 * (math.log(2) - u - F.softplus(-2 * u))
        return super().entropy() + (self.log_scale + slope @ w).sum(-1)


class Product:
    """Independent factors: log-probabilities and entropies add.

    Args:
        dists: the factors.
        sizes: numbers of noise of each.
        widths: numbers of each in a packed action.
    """

    def __init__(self, dists: list[Any], sizes: list[int], widths: list[int]) -> None:
        self.dists, self.sizes, self.widths = dists, sizes, widths

    def sample(self, noise: Tensor) -> Tensor:
        """Return the factors' samples side by side, (…, D)."""
        draws = [dist.sample(part) for dist, part in zip(self.dists, noise.split(self.sizes, dim=-1), strict=True)]
        draws = [x if dist.event_dim else x.unsqueeze(-1) for dist, x in zip(self.dists, draws, strict=True)]
        return torch.cat(draws, dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return Σ log π(a) (…,) of packed actions (…, D)."""
        columns = zip(self.dists, actions.split(self.widths, dim=-1), strict=True)
        return torch.stack([dist.log_prob(x if dist.event_dim else x.squeeze(-1)) for dist, x in columns]).sum(0)

    def entropy(self) -> Tensor:
        """Return the sum of the factors' entropies (…,)."""
        return torch.stack([dist.entropy() for dist in self.dists]).sum(0)

    def parameters(self) -> Tensor:
        """Return those of the factors side by side, (…, K)."""
        return torch.cat([dist.parameters() for dist in self.dists], -1)

    def divergence(self, parameters: Tensor) -> Tensor:
        """Return the sum of the factors' divergences (…,)."""
        widths = [dist.parameters().shape[-1] for dist in self.dists]
        columns = zip(self.dists, parameters.split(widths, dim=-1), strict=True)
        return torch.stack([dist.divergence(x) for dist, x in columns]).sum(0)
