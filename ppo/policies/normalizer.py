"""Running statistics of observations, inside the policy."""

import torch
from torch import Tensor, nn

CLIP = 10.0  # normalised observations and scaled rewards stay within ±10, as in the published recipes (baselines, 2017)


class RunningMeanStd(nn.Module):
    """Mean and variance of all rows so far, as buffers that only `update` changes.

    Parallel update of Chan, Golub and LeVeque (1979). Before the first row it is the identity: mean 0, variance 1.
    """

    mean: Tensor  # (F,)
    var: Tensor  # (F,)
    count: Tensor  # ()

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

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

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (…, F) and clip to ±10."""
        return ((x - self.mean) * torch.rsqrt(self.var + 1e-8)).clamp(-CLIP, CLIP)
