"""The KL penalty counts in the rewards, or in the loss; with groups, always in the loss."""

import pytest

from ppo import Config, UsageError
from ppo.config.penalty import check_penalty, kl_in_loss


@pytest.mark.parametrize(
    ("settings", "in_loss"),
    [
        ({}, False),
        ({"kl_in": "rewards"}, False),
        ({"kl_in": "loss"}, True),
        ({"group_size": 4}, True),
        ({"group_size": 4, "reference": ""}, False),
    ],
)
def test_the_penalty_counts_where_the_settings_say(settings, in_loss):
    config = Config(**{"reference": "RUN"} | settings)
    check_penalty(config)
    assert kl_in_loss(config) == in_loss


def test_a_penalty_in_the_rewards_of_a_group_is_refused():
    with pytest.raises(UsageError, match="group_size = 4, which divides rewards by their deviation"):
        check_penalty(Config(kl_in="rewards", group_size=4, reference="RUN"))
