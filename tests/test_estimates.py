"""What the estimator adds to the advantages: which rows train, and how well the values explain the returns."""

import pytest
import torch
from rollouts import make_rollout

from ppo.config import Config
from ppo.loop.estimates import Estimator, explained_variance


def test_explained_variance_is_over_the_rows_that_train():
    returns = torch.tensor([[1.0, 3.0], [5.0, 900.0], [0.0, 0.0], [0.0, 0.0]])
    values = torch.tensor([[0.0, 3.0], [6.0, -900.0], [7.0, 7.0], [7.0, 7.0]])
    valid = torch.tensor([[True, True], [True, False], [False, False], [False, False]])
    # returns 1, 3, 5 have variance 8/3; the errors 1, 0, −1 have variance 2/3
    assert explained_variance(values, returns, valid) == pytest.approx(0.75)


def test_rewards_to_learn_from_are_less_the_penalties():
    rollout = make_rollout(2, 2)  # rewards 0, 10, 20, 30
    rollout.penalties = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert Estimator(Config()).rewards(rollout).tolist() == [[-1.0, 10.0], [20.0, 25.0]]


def test_decisions_whose_outcome_is_not_known_do_not_train():
    # In environment 1 the rows after the first are read-only, and the rollout ends before the next decision.
    rollout = make_rollout(3, 2)
    rollout.valid = torch.tensor([[True, True], [True, False], [True, False]])
    rollout.next_valid = torch.tensor([True, False])
    assert Estimator(Config()).trained(rollout).tolist() == [[True, False], [True, False], [True, False]]
