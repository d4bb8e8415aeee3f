"""A step on one vector is torch's own optimizers' on the parameters in it, and clipping is torch's own clipping."""

import math

import pytest
import torch

from ppo.loop.optimizers import MOMENTS, OPTIMIZERS, adam_, clip_

SHAPES = ((3, 4), (4,), (), (2, 3, 2))
RATES = (0.1, 0.03, 1e-3, 0.5, 0.1, 0.01)  # another one at each step, as annealing asks for
THEIRS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, eps=1e-5),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, alpha=0.99, eps=1e-5),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([x.detach().reshape(-1) for x in tensors])


def zeros(name: str, size: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Return the count of steps and the moments of an optimizer that has not begun."""
    return [torch.zeros((), dtype=dtype), *(torch.zeros(size, dtype=dtype) for _ in MOMENTS[name])]


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])  # from where epsilon decides to where it has no say
def test_steps_on_the_vector_are_those_of_torch_on_the_parameters(name, size):
    parameters = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    vector, theirs = flat(parameters), THEIRS[name](parameters)
    state = zeros(name, len(vector))
    for number, rate in enumerate(RATES, start=1):
        for parameter in parameters:
            parameter.grad = size * torch.randn_like(parameter)
        parameters[1].grad[0] = 0.0
        gradient = flat([parameter.grad for parameter in parameters])
        kept = gradient.clone()
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
        OPTIMIZERS[name](vector, gradient, torch.tensor(rate, dtype=torch.float64), *state)
        torch.testing.assert_close(vector, flat(parameters), rtol=1e-12, atol=1e-12)
        assert torch.equal(gradient, kept)
        assert state[0] == number
    moments = [flat([theirs.state[parameter][key] for parameter in parameters]) for key in MOMENTS[name]]
    torch.testing.assert_close(state[1:], moments, rtol=1e-12, atol=1e-12 * size * size)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_step_changes_everything_in_place(name):
    vector, state = torch.ones(3), zeros(name, 3, torch.float32)
    places = [x.data_ptr() for x in (vector, *state)]
    OPTIMIZERS[name](vector, torch.tensor([1.0, -2.0, 0.0]), torch.tensor(0.1), *state)
    assert [x.data_ptr() for x in (vector, *state)] == places
    assert all((x != 0).any() for x in state)
    assert vector[0] < 1 < vector[1]
    assert vector[2] == 1


def test_the_first_step_of_adam_is_the_rate_whatever_the_size_of_the_gradient():
    vector, state = torch.zeros(3), zeros("adam", 3, torch.float32)
    adam_(vector, torch.tensor([1.0, -100.0, 1e4]), torch.tensor(0.25), *state)
    assert vector.tolist() == pytest.approx([-0.25, 0.25, -0.25], rel=1e-4)


def test_steps_in_float32_stay_beside_those_of_torch_for_a_long_time():
    parameter = torch.randn(50).requires_grad_()
    vector, theirs = parameter.detach().clone(), torch.optim.Adam([parameter], 1e-3, eps=1e-5)
    state, rate = zeros("adam", 50, torch.float32), torch.tensor(1e-3)
    for _ in range(2000):
        parameter.grad = torch.randn(50)
        theirs.step()
        adam_(vector, parameter.grad, rate, *state)
    torch.testing.assert_close(vector, parameter.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("limit", [1e-3, 0.5, 5.0, 5.3, 1e6])
def test_clipping_the_vector_is_clipping_the_parameters_with_torch(limit):
    parameters = [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    gradient = flat([parameter.grad for parameter in parameters])
    expected = torch.nn.utils.clip_grad_norm_(parameters, limit)
    found = clip_(gradient, limit)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, flat([parameter.grad for parameter in parameters]), rtol=1e-12, atol=0)


def test_the_norm_that_is_returned_is_the_one_before_clipping():
    gradient = torch.tensor([3.0, -4.0])
    assert clip_(gradient, 0.5).item() == pytest.approx(5.0)
    assert gradient.tolist() == pytest.approx([0.3, -0.4], rel=1e-5)


@pytest.mark.parametrize("limit", [0.0, 5.1, math.inf])
def test_a_limit_of_0_or_above_the_norm_leaves_the_gradient_alone(limit):
    gradient = torch.tensor([3.0, -4.0])
    assert clip_(gradient, limit).item() == pytest.approx(5.0)
    assert gradient.tolist() == [3.0, -4.0]


def test_a_gradient_of_zeros_stays_so():
    gradient = torch.zeros(4)
    assert clip_(gradient, 0.5).item() == 0.0
    assert gradient.tolist() == [0.0] * 4
