"""The gru policy: layers of GRU cells, reset where episodes begin."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ppo.policies.base import ACTIVATIONS
from ppo.policies.recurrence import Recurrence
from ppo.policies.recurrent import RecurrentPolicy


class GRU(nn.Module):
    """An activation and `num_layers` GRUs (Cho et al. 2014) of `state_size`; the state holds theirs side by side."""

    def __init__(
        self, input_size: int, *, activation: str = "tanh", state_size: int = 64, num_layers: int = 1, **_: Any
    ) -> None:
        super().__init__()
        self.output_size, self.state_size = state_size, num_layers * state_size
        self.activation = ACTIVATIONS[activation]()
        self.cells = nn.ModuleList(nn.GRUCell(state_size if n else input_size, state_size) for n in range(num_layers))
        for name, parameter in self.cells.named_parameters():
            nn.init.zeros_(parameter) if "bias" in name else nn.init.orthogonal_(parameter)

    def forward(self, x: Tensor, state: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (T, N, W) and state (N, H) to outputs (T, N, state_size) and the state after the last step."""
        x, keep, last = self.activation(x), (~starts).to(state.dtype).unsqueeze(-1), []  # (T, N, W), (T, N, 1)
        for cell, part in zip(self.cells, state.split(self.output_size, dim=-1), strict=True):
            x = functional.linear(x, cell.weight_ih, cell.bias_ih).to(state.dtype)  # type: ignore[arg-type]
            x = Recurrence.apply(x, keep, part, cell.weight_hh, cell.bias_hh)  # (T, N, 3 W) -> (T, N, W)
            last.append(x[-1])
        return x, torch.cat(last, dim=-1)


class GRUPolicy(RecurrentPolicy):
    """Recurrent policy, trained by back-propagation through whole segments of episodes."""

    trunk = GRU
