"""Every row knows its successor's value; numbers that are not finite are named."""

import math

import pytest
import torch
from rollouts import make_rollout
from torch import tensor

from ppo.errors import NonFiniteError
from ppo.loop.rollout import check_finite


def summing_policy(obs, state, starts):
    """V is the sum of the episode's observations so far, which is the state: a recurrent policy one can follow by hand."""
    values = []
    for x, start in zip(obs[..., 0], starts, strict=True):
        state = torch.where(start.unsqueeze(-1), 0.0, state) + x.unsqueeze(-1)
        values.append(state[:, 0])
    return None, torch.stack(values), state


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (math.nan, "nan in entry [1], which is not finite"), (-math.inf, "-inf in entry [1], which is not finite"),
        (1e20, "1e+20 in entry [1], which is too large: its square overflows float32"), (-2e19, "-2e+19 in entry [1], which is"),
    ],
)  # fmt: skip
def test_a_number_whose_square_is_not_finite_is_named_with_its_place(value, fault):
    obs, rewards = torch.zeros(6, 2), torch.full((6,), 1.8e19)  # of 3 environments at steps 40 and 41
    obs[4, 1] = value
    columns = {"obs": (torch.arange(6), obs), "rewards": (torch.arange(6), rewards)}
    with pytest.raises(NonFiniteError) as caught:
        check_finite(columns, 3, 40, {})
    sentence = f"an observation of environment 1 at step 41 since the environments were reset is {fault}"
    assert str(caught.value).startswith(sentence)
    check_finite({"rewards": columns["rewards"], "none": (torch.arange(0), torch.zeros(0, 2))}, 3, 40, {})


def test_a_successor_is_the_next_row_or_the_bootstrap_observation_of_a_cut_row():
    # Row 3 (t 1, n 1) was truncated; rows 4 and 5 are the last. Values of the rows: t · 10 + n.
    rollout = make_rollout(3, 2)
    rollout.successors.rows = tensor([3, 4, 5])
    rollout.successors.obs = tensor([[70.0], [80.0], [90.0]])
    rollout.successors.states = tensor([[1.0], [2.0], [3.0]])
    values = tensor([[0.0, 1], [10, 11], [20, 21]])
    found = rollout.successors.next_values(
        values, summing_policy
    )  # V(successor) = state + observation, for it begins nothing
    assert found.tolist() == [[10, 11], [20, 71], [82, 93]]
    assert values.tolist() == [[0, 1], [10, 11], [20, 21]]


@pytest.mark.parametrize("start", [False, True])
def test_with_values_gives_values_and_successor_values_of_the_policy_as_it_is_now(start):
    rollout = make_rollout(2, 2)  # observations [[0, 1], [2, 3]], first states 0.5 and 1.5, bootstraps 100 and 101
    rollout.starts = tensor([[False, False], [start, False]])
    found = rollout.with_values(summing_policy)
    # Environment 0: 0.5 + 0, then + 2, or 2 alone after a reset. Environment 1: 1.5 + 1, then + 3.
    second = 2.0 if start else 2.5
    assert found.values.tolist() == [[0.5, 2.5], [second, 5.5]]
    assert found.next_values.tolist() == [[second, 5.5], [100, 101]]
    assert found.rewards is rollout.rewards
    assert rollout.values.tolist() == [[1000, 1001], [1002, 1003]]  # the rollout itself stays
