"""What the estimator adds to the advantages: which rows train, and how well the values explain the returns."""

import numpy as np
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


@pytest.mark.parametrize("column", ["value_ends", "terminated"])
def test_where_the_value_ends_nothing_later_counts_as_where_the_episode_ends(column):
    # γ λ = 1/4: Â₂ = 3 + 40/2 − 30, Â₁ = 2 − 20, Â₀ = 1 + 20/2 − 10 − 18/4
    rollout = make_rollout(3, 1)
    rollout.values, rollout.next_values = torch.tensor([[10.0], [20], [30]]), torch.tensor([[20.0], [30], [40]])
    setattr(rollout, column, torch.tensor([[False], [True], [False]]))
    estimator = Estimator(Config(gae_lambda=0.5))
    found = estimator.estimates(rollout, np.array([[1.0], [2], [3]], np.float32), 0.5)
    assert found.advantages.flatten().tolist() == [-3.5, -18.0, -7.0]


@pytest.mark.parametrize("gamma", ["0.2 -> 0.8", "adaptive from 0.2 between 0.1 and 0.8"])
def test_rewards_are_scaled_by_the_largest_discount_that_the_run_can_end_with(gamma):
    rollout = make_rollout(4, 2)
    changing, last = (Estimator(Config(gamma=x, scale_rewards=True, num_envs=2)) for x in (gamma, 0.8))
    assert changing.rewards(rollout).tolist() == last.rewards(rollout).tolist()


def test_the_outcome_is_known_where_the_value_ends():
    rollout = make_rollout(2, 2)
    rollout.valid, rollout.next_valid = torch.tensor([[True, True], [False, False]]), torch.tensor([False, False])
    rollout.value_ends = torch.tensor([[False, False], [False, True]])
    assert Estimator(Config()).trained(rollout).tolist() == [[False, True], [False, False]]


def test_rewards_are_clipped_before_the_penalty_and_scaled_afterwards():
    rollout = make_rollout(2, 2)  # rewards 0, 10, 20, 30
    rollout.penalties = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert Estimator(Config(clip_rewards=15.0)).rewards(rollout).tolist() == [[-1.0, 10.0], [15.0, 10.0]]
    assert rollout.rewards.tolist() == [[0, 10], [20, 30]]
    rollout.rewards = -rollout.rewards
    assert Estimator(Config(clip_rewards=15.0)).rewards(rollout).tolist() == [[-1.0, -10.0], [-15.0, -20.0]]
    scaled = Estimator(Config(clip_rewards=15.0, scale_rewards=True, num_envs=2)).rewards(rollout)
    assert (scaled[1] / scaled[0, 1]).tolist() == pytest.approx([1.5, 2.0])


def test_a_groups_returns_are_of_clipped_rewards():
    rollout = make_rollout(1, 2)
    rollout.rewards, rollout.terminated = torch.tensor([[10.0, 20.0]]), torch.ones(1, 2, dtype=torch.bool)
    for clip, weights in ((0.0, [-1.0, 1.0]), (5.0, [0.0, 0.0])):
        estimator = Estimator(Config(clip_rewards=clip, group_size=2, gamma=1.0))
        found = estimator.estimates(rollout, estimator.rewards(rollout), 1.0).advantages
        assert found.flatten().tolist() == pytest.approx(weights, abs=1e-3)


def test_decisions_whose_outcome_is_not_known_do_not_train():
    # In environment 1 the rows after the first are read-only, and the rollout ends before the next decision.
    rollout = make_rollout(3, 2)
    rollout.valid = torch.tensor([[True, True], [True, False], [True, False]])
    rollout.next_valid = torch.tensor([True, False])
    assert Estimator(Config()).trained(rollout).tolist() == [[True, False], [True, False], [True, False]]


def episodes_of_two(returns, penalties):
    """Return a rollout of one whole episode of two rows in each environment, with these returns and penalties."""
    rollout, envs = make_rollout(2, len(returns)), len(returns)
    rollout.rewards = torch.tensor([[1.0] * envs, [x - 1 for x in returns]])
    rollout.penalties = torch.tensor([[0.0] * envs, penalties])
    rollout.starts, rollout.terminated = (torch.zeros(2, envs, dtype=torch.bool) for _ in range(2))
    rollout.starts[0] = rollout.terminated[1] = True
    return rollout


@pytest.mark.parametrize("baseline", [True, False])
def test_risk_seeking_trains_only_on_returns_above_the_quantile_by_their_distance_to_it(baseline):
    # returns less penalties: 0, 4, 2, 1; the 2/3-quantile is 2
    rollout = episodes_of_two([0.0, 5.0, 2.0, 1.0], [0.0, 1.0, 0.0, 0.0])
    estimator = Estimator(Config(risk_quantile=1 / 3, gamma=1.0, norm_adv=False, baseline=baseline))
    weights = estimator.estimates(rollout, estimator.rewards(rollout), 1.0).advantages
    trained = estimator.trained(rollout)
    assert trained.tolist() == [[False, True, True, False]] * 2
    assert weights[:, trained[0]].flatten().tolist() == pytest.approx([2, 0, 2, 0], abs=1e-5)
    rollout.starts[0, 1] = False  # that episode began in an earlier rollout; of 0, 2, 1 the 2/3-quantile is 4/3
    assert estimator.trained(rollout).tolist() == [[False, False, True, False]] * 2
    assert rollout.rewards.sum() == 8  # raw
    # Scaled rewards are clipped, so that the best return would no longer be the best; the weights are of what chose the rows.
    scaled = Estimator(
        Config(risk_quantile=1 / 3, gamma=1.0, norm_adv=False, baseline=baseline, scale_rewards=True, num_envs=4)
    )
    rollout.starts[0, 1] = True
    assert torch.equal(scaled.estimates(rollout, scaled.rewards(rollout), 1.0).advantages, weights)


def test_risk_seeking_counts_a_text_that_repeats_another_once():
    # returns 0, 4, 4, 1, 2, of which the second and the third are the same episode; of 0, 4, 1, 2 the median is 1.5
    rollout = episodes_of_two([0.0, 4.0, 4.0, 1.0, 2.0], [0.0] * 5)
    rollout.obs[:, 2], rollout.actions[:, 2] = rollout.obs[:, 1], rollout.actions[:, 1]
    estimator = Estimator(Config(risk_quantile=0.5, gamma=1.0, norm_adv=False), written=True)
    assert estimator.trained(rollout).tolist() == [[False, True, False, False, True]] * 2
    assert estimator.estimates(rollout, estimator.rewards(rollout), 1.0).advantages[0, 1] == 2.5
    control = Estimator(
        estimator.config
    )  # chance gives the same actions other returns, and their quantile is what counts
    assert control.trained(rollout).tolist() == [[False, True, True, False, True]] * 2


def test_risk_seeking_with_groups_takes_the_quantile_of_each_group():
    # groups (0, 4) and (6, 7), medians 2 and 6.5, deviations 2 and 0.5
    rollout = episodes_of_two([0.0, 4.0, 6.0, 7.0], [0.0] * 4)
    estimator = Estimator(Config(risk_quantile=0.5, gamma=1.0, norm_adv=False, group_size=2))
    weights = estimator.estimates(rollout, estimator.rewards(rollout), 1.0).advantages
    trained = estimator.trained(rollout)
    assert trained.tolist() == [[False, True, False, True]] * 2
    assert weights[0, trained[0]].tolist() == pytest.approx([2 / 2.0001, 0.5 / 0.5001])
    rollout.rewards[0], rollout.rewards[1] = (
        rollout.rewards[0] + rollout.rewards[1],
        0.0,
    )  # earned at the first step: the weight stays
    assert torch.equal(estimator.estimates(rollout, estimator.rewards(rollout), 1.0).advantages[1], weights[0])


def test_risk_seeking_does_not_tell_texts_apart_by_the_actions_at_their_prompts():
    rollout = episodes_of_two([0.0, 4.0, 4.0, 1.0, 2.0], [0.0] * 5)
    rollout.obs[:, 2], rollout.actions[1, 2], rollout.valid[0] = rollout.obs[:, 1], rollout.actions[1, 1], False
    estimator = Estimator(Config(risk_quantile=0.5, gamma=1.0, norm_adv=False), written=True)
    assert estimator.risk(rollout, estimator.earned(rollout))[1].tolist() == [[False, True, False, False, True]] * 2
