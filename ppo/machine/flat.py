"""Flat policies: a policy's parameters as one vector, so that an optimizer step is a few large operations."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ppo.errors import UsageError


class FlatPolicy:
    """A policy and the vector (P,) of its trained parameters, which become views of it.

    Writing to the vector changes the policy. `forward` calls the policy; `leaves` are the parameter views, in the
    vector's order, for which gradients are computed.

    Args:
        policy: on its device.
        precision: of the arithmetic inside `forward`, "float32" or "bfloat16".

    Raises:
        UsageError: the trained parameters have several dtypes or devices, or there are none.
    """

    forward: Callable[..., Any]
    vector: Tensor
    leaves: list[Tensor]

    def __init__(self, policy: nn.Module, precision: str = "float32") -> None:
        self.module: Any = policy
        self.precision = precision
        self.forward = self._in_precision(policy)
        trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
        kinds = {(p.dtype, p.device) for p in trained.values()}
        if len(kinds) != 1:
            listed = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)) or "none"
            raise UsageError(f"a policy's trained parameters must have one dtype and one device, not {listed}")
        self.shapes = {name: p.shape for name, p in trained.items()}
        self.vector = torch.cat([p.detach().reshape(-1) for p in trained.values()])
        self.leaves = list(trained.values())
        for parameter, view in zip(self.leaves, self._views(self.vector), strict=True):
            parameter.data = view

    def _views(self, vector: Tensor) -> Iterator[Tensor]:
        sizes = [shape.numel() for shape in self.shapes.values()]
        return (part.view(shape) for part, shape in zip(vector.split(sizes), self.shapes.values(), strict=True))

    def _in_precision(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return a policy's forward at the precision; it returns values and states in float32."""
        if self.precision == "float32":
            return forward

        def in_bfloat16(obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Any, Tensor, Tensor]:
            with torch.autocast(obs.device.type, torch.bfloat16):
                dist, values, state = forward(obs, state, starts)
                return dist, values.float(), state.float()

        return in_bfloat16

    def other_tensors(self) -> dict[str, Tensor]:
        """Return the policy's other tensors by name: its buffers and its frozen parameters."""
        frozen = {name: p for name, p in self.module.named_parameters() if not p.requires_grad}
        return frozen | dict(self.module.named_buffers())

    def with_tensors(self, vector: Tensor, untrained: dict[str, Tensor]) -> "FlatPolicy":
        """Return the same policy on other tensors; the compiler traces it in place of this one."""
        twin = object.__new__(FlatPolicy)
        twin.module, twin.precision, twin.shapes, twin.vector = self.module, self.precision, self.shapes, vector
        twin.leaves = [view.requires_grad_() for view in self._views(vector.detach())]
        tensors = dict(zip(self.shapes, twin.leaves, strict=True)) | untrained
        twin.forward = self._in_precision(lambda *args: torch.func.functional_call(self.module, tensors, args))
        return twin

    def gradient(self, loss: Tensor) -> Tensor:
        """Return the gradient of a loss as a vector (P,); it is 0 for parameters on which the loss does not depend."""
        gradients = torch.autograd.grad(loss, self.leaves, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in gradients])
