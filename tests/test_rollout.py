"""A fold is a bijection that keeps time; every row knows its successor's value."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from ppo.errors import NonFiniteError
from ppo.loop.rollout import Batch, Estimates, Rollout, Successors, check_finite, fold

sizes = st.integers(1, 5)
checked = settings(max_examples=40, deadline=None, derandomize=True)


def numbered(steps: int, envs: int) -> torch.Tensor:
    """Return (T, N) with the row's number t · N + n."""
    return torch.tensor([[t * envs + n for n in range(envs)] for t in range(steps)])


def make_rollout(steps: int, envs: int, width: int = 1) -> Rollout:
    """Return a rollout whose every number tells the row it stands in; the last rows' successors are observed as 100 + n."""
    row = numbered(steps, envs).float()
    no = torch.zeros(steps, envs, dtype=torch.bool)
    return Rollout(
        obs=row.unsqueeze(-1).repeat(1, 1, 2), states=row.unsqueeze(-1).repeat(1, 1, width) + 0.5, starts=no, valid=~no,
        actions=row.long(), log_probs=-row, rewards=row * 10, penalties=row * 0, terminated=no, truncated=no, values=row + 1000,
        next_values=row + 2000, next_valid=~no[0], successors=Successors(
            rows=numbered(steps, envs)[-1],
            obs=100 + torch.arange(envs).float().unsqueeze(-1).repeat(1, 2),
            states=torch.zeros(envs, width),
        ),
    )  # fmt: skip


def summing_policy(obs, state, starts):
    """V is the sum of the episode's observations so far, which is the state: a recurrent policy one can follow by hand."""
    values = []
    for x, start in zip(obs[..., 0], starts, strict=True):
        state = torch.where(start.unsqueeze(-1), 0.0, state) + x.unsqueeze(-1)
        values.append(state[:, 0])
    return None, torch.stack(values), state


@checked
@given(sizes, sizes, sizes)
def test_fold_is_a_bijection_of_rows_that_keeps_time_order(length, pieces, envs):
    folded = fold(numbered(length * pieces, envs), length)
    assert folded.shape == (length, pieces * envs)
    assert sorted(folded.flatten().tolist()) == list(range(length * pieces * envs))
    for sequence in folded.t().tolist():
        assert {row % envs for row in sequence} == {sequence[0] % envs}  # one environment
        assert [row // envs - sequence[0] // envs for row in sequence] == list(range(length))  # step after step
        assert sequence[0] // envs % length == 0  # cut where a sequence begins


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


def test_fold_keeps_the_dimensions_of_a_row():
    x = torch.arange(4 * 3 * 2).view(4, 3, 2)
    expected = [[[0, 1], [2, 3], [4, 5], [12, 13], [14, 15], [16, 17]],
                [[6, 7], [8, 9], [10, 11], [18, 19], [20, 21], [22, 23]]]  # fmt: skip
    assert fold(x, 2).tolist() == expected


@checked
@given(sizes, sizes, sizes, st.integers(0, 2))
def test_a_batch_holds_each_rows_columns_and_the_state_before_each_sequence(length, pieces, envs, width):
    rollout = make_rollout(length * pieces, envs, width)
    batch = Batch.from_rollout(
        rollout, rollout.valid, Estimates(rollout.values, rollout.rewards + 1, rollout.rewards + 2), length
    )
    assert batch.num_sequences == pieces * envs
    assert sorted(batch.rows.flatten().tolist()) == list(range(length * pieces * envs))
    row = batch.rows.float()
    assert batch.states.shape == (pieces * envs, width)
    assert (batch.states == row[0].unsqueeze(-1) + 0.5).all()
    assert (batch.obs == row.unsqueeze(-1)).all()
    assert (batch.actions == batch.rows).all()
    assert (batch.log_probs == -row).all()
    assert (batch.values == row + 1000).all()
    assert (batch.advantages == row * 10 + 1).all()
    assert (batch.returns == row * 10 + 2).all()


def test_starts_and_valid_are_folded_with_their_rows():
    rollout = make_rollout(4, 2)
    rollout.starts, rollout.valid = numbered(4, 2) % 3 == 0, numbered(4, 2) != 5
    batch = Batch.from_rollout(rollout, rollout.valid, Estimates(rollout.values, rollout.rewards, rollout.rewards), 2)
    assert (batch.starts == (batch.rows % 3 == 0)).all()
    assert batch.rows[~batch.valid].tolist() == [5]


def test_select_takes_whole_sequences_in_the_order_asked():
    rollout = make_rollout(4, 3)
    batch = Batch.from_rollout(
        rollout, rollout.valid, Estimates(rollout.values, rollout.rewards, rollout.rewards), 2
    ).select(tensor([4, 0]))
    assert batch.num_sequences == 2
    assert batch.rows.tolist() == [[7, 0], [10, 3]]  # environment 1 from step 2, environment 0 from step 0
    assert batch.states.tolist() == [[7.5], [0.5]]
    assert batch.obs[..., 0].tolist() == [[7, 0], [10, 3]]
    assert batch.returns.tolist() == [[70, 0], [100, 30]]


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


def test_a_batch_with_other_estimates_has_their_values_advantages_and_returns_in_the_same_order():
    rollout = make_rollout(4, 3)
    batch = Batch.from_rollout(rollout, rollout.valid, Estimates(rollout.values, rollout.rewards, rollout.rewards), 2)
    numbers = numbered(4, 3).float()
    again = batch.with_estimates(Estimates(numbers, numbers + 100, numbers + 200))
    assert torch.equal(again.values, batch.rows.float())
    assert torch.equal(again.advantages, batch.rows.float() + 100)
    assert torch.equal(again.returns, batch.rows.float() + 200)
    assert again.obs is batch.obs
