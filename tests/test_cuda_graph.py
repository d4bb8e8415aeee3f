"""A captured function replays on the tensors that it gets; without a GPU, a stand-in replays the kernels."""

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ppo.machine.cuda_graph import capture, restore_after

calls: list[tuple[Tensor, Tensor, Tensor]] = []  # (x, total, output) of each call of `step`


def step(x: Tensor, total: Tensor) -> tuple[Tensor]:
    """Add x to a total in place, and return 2x + total."""
    total += x
    output = 2 * x + total
    calls.append((x, total, output))
    return (output,)


class SimulatedGraph:
    """Replay `step` on the tensors of its last call, in place, as a CUDA graph does."""

    def replay(self) -> None:
        x, total, output = calls[-1]
        total += x
        output.copy_(2 * x + total)


@pytest.fixture(params=["simulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request, monkeypatch) -> Iterator[str]:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    if request.param == "simulated":
        stream = type("Stream", (), {"wait_stream": lambda self, other: None})
        for name in ("Stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, stream)
        for name in ("stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, contextlib.nullcontext)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", SimulatedGraph)
    yield "cuda" if request.param == "cuda" else "cpu"
    calls.clear()


def test_capturing_changes_no_value(device):
    x, total = torch.tensor([1.0, 2.0], device=device), torch.tensor([10.0, 20.0], device=device)
    capture(step, [x, total])
    assert (x.tolist(), total.tolist()) == ([1.0, 2.0], [10.0, 20.0])


def test_the_tensors_of_the_capture_are_read_and_changed_in_place(device):
    x, total = torch.tensor([1.0, 2.0], device=device), torch.tensor([10.0, 20.0], device=device)
    run = capture(step, [x, total])
    first = run([x, total])[0]
    assert (first.tolist(), total.tolist()) == ([13.0, 26.0], [11.0, 22.0])
    x += 1
    assert run([x, total])[0].tolist() == [17.0, 31.0]  # total is 13, 25
    assert first.tolist() == [13.0, 26.0]  # an earlier output stays


def test_another_tensor_is_copied_once(device):
    x, total = torch.tensor([1.0, 2.0], device=device), torch.tensor([10.0, 20.0], device=device)
    run, other = capture(step, [x, total]), torch.tensor([0.0, 5.0], device=device)
    assert run([other, total])[0].tolist() == [10.0, 35.0]  # total is 10, 25
    other += 100
    assert run([other, total])[0].tolist() == [10.0, 40.0]  # still 0 and 5: the same tensor again


def test_values_are_restored_after_an_error():
    x = torch.tensor([1.0, 2.0])
    with contextlib.suppress(ZeroDivisionError), restore_after([x]):
        x += 1
        raise ZeroDivisionError
    assert x.tolist() == [1.0, 2.0]
