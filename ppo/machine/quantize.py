"""Quantisation: a module whose matrices are int8, with a float32 scale for each row; they are float32 again when it is called.

The file is smaller, not the arithmetic faster: products stay float32, so that every format and machine has them.
"""

from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 127  # of int8; −128 is not used, so that the range is symmetric


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight (rows, …) as int8 of the same shape, and the scale of each row (rows, 1, …): weight ≈ int8 · scale."""
    largest = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True)
    scale = torch.where(largest > 0, largest / LARGEST, 1.0)
    return (weight / scale).round().to(torch.int8), scale


class Int8(nn.Module):
    """A module whose trained tensors with two or more dimensions are int8; the others, and buffers, stay as they are.

    Args:
        module: called with these weights in place of its own; it stays as it is.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = (module,)  # in a tuple, so that its own tensors are not among those of this module
        self.places: dict[str, str] = {}  # of each tensor of the module, the number of its buffers here
        matrices = {name for name, x in module.named_parameters() if x.dim() > 1}
        for number, (name, x) in enumerate([*module.named_parameters(), *module.named_buffers()]):
            self.places[name] = str(number)
            tensors = quantize(x.detach()) if name in matrices else (x.detach().clone(),)  # not a view of all weights
            for kind, tensor in zip(("int8", "scale") if name in matrices else ("plain",), tensors, strict=True):
                self.register_buffer(f"{kind}_{number}", tensor)

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of the module by name, float32 again."""
        tensors = dict(self.named_buffers())
        return {
            name: tensors[f"plain_{n}"] if f"plain_{n}" in tensors else tensors[f"int8_{n}"] * tensors[f"scale_{n}"]
            for name, n in self.places.items()
        }

    def forward(self, *arguments: Any) -> Any:
        """Call the module."""
        return torch.func.functional_call(self.inner[0], self.weights(), arguments)
