"""Running statistics of observations, inside the policy."""

from typing import Any

import torch
from torch import Tensor, nn

CLIP = 10.0  # normalised observations and scaled rewards stay within ±10, as in the published recipes (baselines, 2017)


class RunningMeanStd(nn.Module):
    """Mean and variance of all rows so far, as float64 buffers that only `update` changes.

    Parallel update of Chan, Golub and LeVeque (1979). Before the first row it is the identity: mean 0, variance 1.
    """

    mean: Tensor  # (F,) float64
    var: Tensor  # (F,) float64
    count: Tensor  # () float64
    scale: Tensor  # (F,) float32, 1 / deviation
    shift: Tensor  # (F,) float32, the mean; with `scale` all that `forward` reads

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("var", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones(size), persistent=False)
        self.register_buffer("shift", torch.zeros(size), persistent=False)
        self.register_load_state_dict_post_hook(RunningMeanStd._refresh)

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Add rows (M, F) to the statistics."""
        if len(rows) == 0:
            return
        rows = rows.double()
        mean, var, total = rows.mean(0), rows.var(0, correction=0), self.count + len(rows)
        delta, weight = mean - self.mean, len(rows) / total
        self.var.copy_(self.var * (1 - weight) + var * weight + delta * delta * weight * (1 - weight))
        self.mean.copy_(self.mean + delta * weight)
        self.count.copy_(total)
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        self.scale.copy_(torch.rsqrt(self.var + 1e-8))
        self.shift.copy_(self.mean)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (…, F) and clip to ±10."""
        return ((x - self.shift) * self.scale).clamp(-CLIP, CLIP)
