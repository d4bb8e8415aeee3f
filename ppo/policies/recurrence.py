"""The recurrence of a GRU over T steps, with a backward pass of its own.

The loop over time holds only what depends on the step before: a product with the state, and the gates. Everything else
is computed for all steps at once, in both directions. When the compiler traces it, the loop stays a loop.
"""

from typing import Any

import torch
from torch import Tensor

from ppo.machine.operations import scan


class Recurrence(torch.autograd.Function):
    """States (T, N, H) of a GRU (Cho et al. 2014, with torch's two biases); `keep` = 0 resets the state before a step.

    r, z = σ(x + U h + b), n = tanh(x + r (U h + b)), h' = n + z (h − n); x is the input's product, with its own bias.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Run over x (T, N, 3H) and keep (T, N, 1) from state (N, H), with weight U (3H, H) and bias (3H,)."""
        later = torch.cat([keep[1:], torch.ones_like(keep[:1])])  # (T, N, 1) keep of the next step
        with torch.autocast(x.device.type, enabled=False):  # errors of bfloat16 would accumulate over the steps
            states = scan(_forward_cell, state * keep[0], (x, later), (weight.t(), bias))
        ctx.save_for_backward(x, keep, state, weight, bias, states)
        return states

    @staticmethod
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias; `keep` and the stored `state` have none."""
        x, keep, state, weight, bias, states = ctx.saved_tensors
        before = torch.cat([state.unsqueeze(0), states[:-1]]) * keep  # (T, N, H) state before each step
        u = torch.addmm(bias, before.flatten(0, 1), weight.t()).view_as(x)  # (T, N, 3H)
        (x_r, x_z, x_n), (u_r, u_z, u_n) = x.chunk(3, -1), u.chunk(3, -1)
        r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
        n = torch.tanh(x_n + r * u_n)
        # ∂h'/∂(pre-activation) of r and of z, and ∂h'/∂(U h + b) inside n.
        at_n = (1 - z) * (1 - n * n)
        slopes = torch.cat([at_n * u_n * r * (1 - r), (before - n) * z * (1 - z), at_n * r], dim=-1)  # (T, N, 3H)
        later = torch.cat([keep[1:], torch.zeros_like(keep[:1])])
        backwards = tuple(part.flip(0) for part in (d_states, slopes, z, later))
        d = scan(_backward_cell, torch.zeros_like(state), backwards, (weight,)).flip(0)  # (T, N, H) dL/dh'
        d_u = slopes * d.repeat(1, 1, 3)  # (T, N, 3H)
        d_x = torch.cat([d_u[..., : -d.shape[-1]], at_n * d], dim=-1)
        d_weight = d_u.flatten(0, 1).t() @ before.flatten(0, 1)
        return d_x, None, None, d_weight, d_u.sum((0, 1))


def _forward_cell(h: Tensor, x: Tensor, later: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    u = torch.addmm(bias, h, weight)  # (N, 3H)
    (x_r, x_z, x_n), (u_r, u_z, u_n) = x.chunk(3, -1), u.chunk(3, -1)
    n = torch.tanh(x_n + torch.sigmoid(x_r + u_r) * u_n)
    h = n + torch.sigmoid(x_z + u_z) * (h - n)
    return h * later, h


def _backward_cell(
    carry: Tensor, d: Tensor, slopes: Tensor, z: Tensor, later: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    d = d + carry * later
    return torch.addmm(d * z, slopes * d.repeat(1, 3), weight), d
