"""The clipped-surrogate loss, as a mean over the rows of a minibatch to train on."""

from typing import NamedTuple

import torch
from torch import Tensor

STATS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clipfrac")


class Coefs(NamedTuple):
    """The numbers of the loss that may change from iteration to iteration: () float64, so that 1 ± ε is rounded once."""

    clip_coef: Tensor  # ε
    ent_coef: Tensor  # c_e
    vf_coef: Tensor  # c_v


def valid_mean(x: Tensor, valid: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the mean of x over the rows where valid is true; 0 without such a row.

    Args:
        x: (…) numbers.
        valid: (…) bool.
        count: () of the rows to average over, if x has only a part of them: the parts' results then sum to the mean.
    """
    return torch.where(valid, x, 0.0).sum() / (valid.sum().clamp(min=1) if count is None else count)


def normalized(advantages: Tensor, valid: Tensor) -> Tensor:
    """Return the advantages of M minibatches with mean 0 and deviation 1 over the valid rows of each, (L, M, B')."""
    count = valid.sum((0, 2), keepdim=True).clamp(min=1)  # (1, M, 1)
    centred = advantages - torch.where(valid, advantages, 0.0).sum((0, 2), keepdim=True) / count
    variance = torch.where(valid, centred**2, 0.0).sum((0, 2), keepdim=True) / count
    return centred / (variance.sqrt() + 1e-8)


def ppo_loss(
    log_probs: Tensor,  # (L, B) of the actions under the current policy
    entropy: Tensor,  # (L, B)
    values: Tensor,  # (L, B)
    old_log_probs: Tensor,  # (L, B) when the actions were taken
    old_values: Tensor,  # (L, B)
    advantages: Tensor,  # (L, B) normalised, if they are to be
    returns: Tensor,  # (L, B)
    valid: Tensor,  # (L, B) bool
    coefs: Coefs,
    clip_vloss: bool = False,  # clip the change of the value to ± ε
    count: Tensor | None = None,  # () valid rows of the minibatch, of which these are a part
    penalty: Tensor | None = None,  # (L, B) β KL(π ‖ π_ref)
) -> tuple[Tensor, Tensor]:
    """Return the loss and its detached statistics: STATS, then the flat index of the first non-finite row, or −1.

    L = −E[min(r Â, clip(r, 1 ± ε) Â)] + c_v ½ E[(V − R)²] − c_e E[H] + E[penalty] with r = π(a|s) / π_old(a|s) (Schulman
    et al. 2017, equations 7 and 9). approx_kl is E[(r − 1) − log r], which is unbiased and never negative (Schulman 2020, k3).
    """
    # A dead row's ratio could overflow, and inf · 0 is NaN.
    log_ratio = torch.where(valid, log_probs - old_log_probs, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - coefs.clip_coef, 1 + coefs.clip_coef)
    policy_loss = -valid_mean(torch.minimum(ratio * advantages, clipped * advantages), valid, count)

    errors = (values - returns) ** 2
    if clip_vloss:
        near = old_values + (values - old_values).clamp(-coefs.clip_coef, coefs.clip_coef)
        errors = torch.maximum(errors, (near - returns) ** 2)
    value_loss = 0.5 * valid_mean(errors, valid, count)

    mean_entropy = valid_mean(entropy, valid, count)
    loss = policy_loss + coefs.vf_coef * value_loss - coefs.ent_coef * mean_entropy
    finite = ratio * advantages + errors + entropy
    if penalty is not None:
        loss, finite = loss + valid_mean(penalty, valid, count), finite + penalty
    with torch.no_grad():
        approx_kl = valid_mean(
            log_ratio.expm1() - log_ratio, valid, count
        )  # expm1, since r − 1 cancels for small log r
        clipfrac = valid_mean(((ratio - 1).abs() > coefs.clip_coef).float(), valid, count)
        broken = (~torch.isfinite(finite) & valid).flatten().float()
        offender = torch.where(broken.any(), broken.argmax().float(), -1.0)
        means = (policy_loss, value_loss, mean_entropy, approx_kl, clipfrac)
    return loss, torch.stack([*(x.detach() for x in means), offender])
