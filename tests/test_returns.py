"""What the critic learns from demonstrations: discounted returns, with its own value at a time limit."""

import numpy as np
import pytest
import torch

from ppo.config import Config
from ppo.demonstrations import Demonstrations
from ppo.loop.estimates import Estimator
from ppo.supervised.returns import Returns

REWARDS = np.array([1.0, 2, 4, 8, 16, 32])


def demonstrations(valid=(True,) * 6):
    terminations, truncations = np.zeros(6, bool), np.zeros(6, bool)
    terminations[2], truncations[5] = True, True  # two episodes of three steps
    return Demonstrations("d", [], [], REWARDS, terminations, truncations, np.array(valid), {})


def returns_of(valid=(True,) * 6, **settings):
    estimator = Estimator(Config(gamma=0.5, **settings))
    return Returns(demonstrations(valid), estimator, torch.device("cpu")), estimator


def loss(returns, values, rows):
    rows = torch.tensor(rows)
    return float(
        returns.loss(torch.tensor(values), rows, torch.ones_like(rows, dtype=torch.bool), torch.tensor(len(rows)))
    )


def test_returns_are_discounted_to_the_end_and_to_the_value_at_a_time_limit():
    returns, _ = returns_of()
    assert returns.returns.tolist() == [1 + 1 + 1, 2 + 2, 4, 8 + 8, 16, 0]
    assert returns.weights.tolist() == [0, 0, 0, 0.25, 0.5, 1]
    assert loss(returns, [1.0], [0]) == 2.0  # ½ (1 − 3)²
    assert loss(returns, [6.0], [5]) == 0  # the last row of the second episode is not learnt, but remembered
    assert loss(returns, [0.0], [4]) == 0.5 * (16 + 0.5 * 6) ** 2
    assert loss(returns, [0.0, 8.0], [3, 5]) == 0.5 * (16 + 0.25 * 6) ** 2 / 2
    assert returns.tails.tolist() == [0, 8]


def test_a_row_that_is_no_decision_takes_no_time():
    assert returns_of(valid=(True, False, True) * 2)[0].returns.tolist()[:3] == [1 + 0.5 * (2 + 4), 2 + 4, 4]


def test_rewards_are_clipped_as_the_settings_say():
    assert returns_of(clip_rewards=2.0)[0].returns.tolist()[:3] == [1 + 1 + 0.5, 2 + 1, 2]


def test_rewards_are_scaled_by_statistics_that_stay_with_the_run():
    returns, estimator = returns_of(scale_rewards=True)
    so_far = np.array([1, 2.5, 5.25, 8, 20, 42])  # discounted returns since the start of the episode
    assert float(estimator.scaler.stats.count) == 6
    assert float(estimator.scaler.stats.var[0]) == pytest.approx(so_far.var())
    assert returns.returns[2].item() == pytest.approx(4 / so_far.std())
