"""The recurrence is a GRU cell called step by step, gradients included, and so is what the compiler traces of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan_op
from torch.nn import functional

from ppo.machine.inductor import trace
from ppo.policies.recurrence import Recurrence

Case = tuple[nn.GRUCell, Tensor, Tensor, Tensor]  # the cell, inputs x (T, N, 3), the state (N, H), starts (T, N)


def step_by_step(cell: nn.GRUCell, x: Tensor, state: Tensor, starts: Tensor) -> Tensor:
    outputs = []
    for step, start in zip(x, starts, strict=True):
        state = cell(step, torch.where(start.unsqueeze(-1), torch.zeros_like(state), state))
        outputs.append(state)
    return torch.stack(outputs)


def recurrence(cell: nn.GRUCell, x: Tensor, state: Tensor, starts: Tensor) -> Tensor:
    inputs, keep = functional.linear(x, cell.weight_ih, cell.bias_ih), (~starts).to(x.dtype).unsqueeze(-1)
    return Recurrence.apply(inputs, keep, state, cell.weight_hh, cell.bias_hh)


def make(steps: int, envs: int, share: float, seed: int) -> Case:
    torch.manual_seed(seed)
    x, state = torch.randn(steps, envs, 3).double(), torch.randn(envs, 4).double()
    return nn.GRUCell(3, 4).double(), x, state, torch.rand(steps, envs) < share


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.7, 1.0]), st.integers(0, 10_000))
def test_outputs_and_gradients_are_those_of_a_cell_called_step_by_step_with_resets(steps, envs, share, seed):
    cell, x, state, starts = make(steps, envs, share, seed)
    weights, results = torch.randn(steps, envs, 4).double(), []
    for run in (recurrence, step_by_step):
        inputs = x.clone().requires_grad_()
        outputs = run(cell, inputs, state, starts)
        results.append([outputs, *torch.autograd.grad((outputs * weights).sum(), [inputs, *cell.parameters()])])
    for x, expected in zip(*results, strict=True):
        torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("steps", "loops"), [(1, 0), (6, 2), (8, 0), (16, 2)])  # forward and backward, or one round
def test_traced_it_is_what_it_is_eagerly_and_stays_two_loops(steps, loops):
    cell, x, state, starts = make(steps, 3, 0.3, seed=0)

    def function(x: Tensor, keep: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
        outputs = Recurrence.apply(leaves[0], keep, state, *leaves[1:])
        return outputs.detach(), *torch.autograd.grad(outputs.square().sum(), leaves)

    inputs, keep = functional.linear(x, cell.weight_ih, cell.bias_ih), (~starts).to(x.dtype).unsqueeze(-1)
    tensors = [tensor.detach() for tensor in (inputs, keep, state, cell.weight_hh, cell.bias_hh)]
    graph = trace(function, tensors)
    torch.testing.assert_close(graph(*tensors), function(*tensors), rtol=1e-10, atol=1e-10)
    assert sum(node.target is scan_op for node in graph.graph.nodes) == loops
