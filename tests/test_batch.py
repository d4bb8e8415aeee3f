"""A fold is a bijection that keeps time; minibatches are parts of the batch."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollouts import make_rollout, numbered
from torch import tensor

from ppo.loop.batch import Batch, fold
from ppo.loop.estimates import Estimates

sizes = st.integers(1, 5)
checked = settings(max_examples=40, deadline=None, derandomize=True)


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


def test_a_batch_with_other_estimates_has_their_values_advantages_and_returns_in_the_same_order():
    rollout = make_rollout(4, 3)
    batch = Batch.from_rollout(rollout, rollout.valid, Estimates(rollout.values, rollout.rewards, rollout.rewards), 2)
    numbers = numbered(4, 3).float()
    again = batch.with_estimates(Estimates(numbers, numbers + 100, numbers + 200))
    assert torch.equal(again.values, batch.rows.float())
    assert torch.equal(again.advantages, batch.rows.float() + 100)
    assert torch.equal(again.returns, batch.rows.float() + 200)
    assert again.obs is batch.obs


def test_minibatches_are_the_sequences_asked_for_with_advantages_normalised_over_the_whole_of_each():
    rollout = make_rollout(4, 4)  # 8 sequences of 2 steps
    valid = rollout.valid.clone()
    valid[0, 1] = False
    batch = Batch.from_rollout(rollout, valid, Estimates(rollout.values, rollout.rewards, rollout.rewards), 2)
    order = tensor([[5, 2, 1, 0], [3, 4, 7, 6]])
    whole = batch.minibatches(order, slice(0, 4), normalize=True)
    parts = [batch.minibatches(order, part, normalize=True) for part in (slice(0, 2), slice(2, 4))]
    for m, (index, (minibatch, total)) in enumerate(zip(order, whole, strict=True)):
        chosen = batch.select(index)
        assert total == chosen.valid.sum() == (7 if 1 in index else 8)
        for name in ("obs", "states", "starts", "valid", "actions", "log_probs", "values", "returns", "rows"):
            assert torch.equal(getattr(minibatch, name), getattr(chosen, name)), name
        known = minibatch.advantages[minibatch.valid]
        assert abs(known.mean()) < 1e-5
        assert abs(known.std(correction=0) - 1) < 1e-5
        assert [part[m].total for part in parts] == [total, total]
        assert torch.equal(torch.cat([part[m].batch.advantages for part in parts], 1), minibatch.advantages)
        assert torch.equal(torch.cat([part[m].batch.states for part in parts]), minibatch.states)
