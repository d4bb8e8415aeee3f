"""Optimizers as functions of one vector: a few operations a step, whatever the number of parameters."""

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-5  # of the published implementations of PPO and A2C, not torch's 1e-8
BETAS, ALPHA = (0.9, 0.999), 0.99
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "rmsprop": ("square_avg",)}


def adam_(
    vector: Tensor, gradient: Tensor, learning_rate: Tensor, step: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor
) -> None:
    """Take a step of Adam in place (Kingma and Ba 2015, algorithm 1).

    Args:
        vector: (P,) parameters.
        gradient: (P,).
        learning_rate: ().
        step: () steps taken so far; counted up.
        exp_avg: (P,) running mean of gradients, mₜ.
        exp_avg_sq: (P,) running mean of their squares, vₜ.
    """
    step.add_(1)
    exp_avg.lerp_(gradient, 1 - BETAS[0])
    exp_avg_sq.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    deviation = (exp_avg_sq / (1 - BETAS[1] ** step)).sqrt() + EPSILON
    vector.sub_(learning_rate / (1 - BETAS[0] ** step) * exp_avg / deviation)


def rmsprop_(vector: Tensor, gradient: Tensor, learning_rate: Tensor, step: Tensor, square_avg: Tensor) -> None:
    """Take a step of RMSprop in place, without momentum (Hinton 2012, lecture 6e); arguments as in `adam_`."""
    step.add_(1)
    square_avg.mul_(ALPHA).addcmul_(gradient, gradient, value=1 - ALPHA)
    vector.sub_(learning_rate * gradient / (square_avg.sqrt() + EPSILON))


OPTIMIZERS: dict[str, Callable[..., None]] = {"adam": adam_, "rmsprop": rmsprop_}


def clip_(gradient: Tensor, limit: float) -> Tensor:
    """Scale a gradient (P,) down to a norm of `limit`, in place (0: no limit); return its norm () before."""
    norm = torch.linalg.vector_norm(gradient)
    if limit:
        gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
    return norm
