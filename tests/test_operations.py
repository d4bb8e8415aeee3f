"""Traced or not, a lookup and a scan compute the same; only a scan that is traced stays a loop."""

import importlib
import threading

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.nn import functional

from ppo.machine.inductor import CompileError, trace
from ppo.machine.operations import is_tracing, lookup, private, scan, tracing

N = 2


def test_only_the_thread_inside_the_block_is_tracing():
    elsewhere: list[bool] = []
    with tracing():
        thread = threading.Thread(target=lambda: elsewhere.append(is_tracing()))
        thread.start()
        thread.join()
        assert is_tracing()
    assert not is_tracing()
    assert elsewhere == [False]


def test_tracing_ends_with_an_error():
    with pytest.raises(CompileError):
        trace(lambda x: 1 / 0, [torch.zeros(1)])
    assert not is_tracing()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("torch.nn:Linear", torch.nn.Linear), ("torch:_C.NoSuchClass", None), ("torch.no_such_module:Name", None)],
)
def test_a_private_name_that_torch_lacks_is_none(name, expected):
    assert private(name) is expected


def test_a_lookup_traced_for_several_threads_is_a_product_whose_gradient_sums_in_a_fixed_order(monkeypatch):
    table, index = torch.randn(7, 3), torch.randint(7, (4, 5))
    expected = table[index]
    assert torch.equal(lookup(index, table), expected)
    with tracing():
        assert torch.equal(lookup(index, table), expected)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        monkeypatch.setattr(functional, "embedding", None)
        assert torch.equal(lookup(index, table), expected)


def cell(carry: Tensor, row: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    carry = torch.tanh(carry * factor + row)
    return carry, carry * 2


def scanned(carry: Tensor, rows: Tensor, factor: Tensor) -> tuple[Tensor]:
    return (scan(cell, carry, (rows,), (factor,)),)


def calls(graph: GraphModule) -> list[str]:
    graphs = [module for module in graph.modules() if isinstance(module, GraphModule)]
    return [str(node.target) for module in graphs for node in module.graph.nodes if node.op == "call_function"]


def example(steps: int) -> tuple[list[Tensor], Tensor]:
    """Return (carry, rows and factor, the expected outputs)."""
    carry, rows = torch.randn(N, 3), torch.randn(steps, N, 3)
    state, expected = carry, []
    for row in rows:
        state = torch.tanh(state * 0.5 + row)
        expected.append(state * 2)
    return [carry, rows, torch.tensor(0.5)], torch.stack(expected)


@pytest.mark.parametrize(("steps", "steps_per_round"), [(1, None), (7, 1), (8, None), (12, 4), (24, 8)])
def test_a_traced_scan_stays_a_loop_of_at_most_eight_steps_a_round(steps, steps_per_round):
    arguments, expected = example(steps)
    graph = trace(scanned, arguments)
    torch.testing.assert_close(scanned(*arguments)[0], expected)
    torch.testing.assert_close(graph(*arguments)[0], expected)
    assert sum("scan" in call for call in calls(graph)) == (steps_per_round is not None)
    assert sum("tanh" in call for call in calls(graph)) == (steps_per_round or steps)


def test_without_torchs_private_scan_a_traced_loop_is_unrolled(monkeypatch):
    arguments, expected = example(12)
    monkeypatch.delattr(importlib.import_module("torch._higher_order_ops.scan"), "scan_op")
    graph = trace(scanned, arguments)
    torch.testing.assert_close(graph(*arguments)[0], expected)
    assert not any("scan" in call for call in calls(graph))
    assert sum("tanh" in call for call in calls(graph)) == 12
