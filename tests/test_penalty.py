"""The KL penalty counts in the rewards, or in the loss; with groups, always in the loss."""

import pytest

from ppo import Config, UsageError
from ppo.config.penalty import check_penalty, distils, kl_in_loss


@pytest.mark.parametrize(
    ("settings", "in_loss"),
    [
        ({}, False),
        ({"kl_in": "rewards"}, False),
        ({"kl_in": "loss"}, True),
        ({"group_size": 4}, True),
        ({"group_size": 4, "reference": ""}, False),
        ({"reward": "none"}, True),
        ({"reward": "none", "kl_in": "rewards"}, False),
    ],
)
def test_the_penalty_counts_where_the_settings_say(settings, in_loss):
    config = Config(**{"reference": "RUN"} | settings)
    check_penalty(config)
    assert kl_in_loss(config) == in_loss
    assert distils(config) == (in_loss and config.reward == "none")


def test_a_penalty_in_the_rewards_of_a_group_is_refused():
    with pytest.raises(UsageError, match="group_size = 4, which divides rewards by their deviation"):
        check_penalty(Config(kl_in="rewards", group_size=4, reference="RUN"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kl_coef": 0.0}, "kl_coef = 0 with reward = none leaves the actor nothing to learn from; choose a positive"),
        ({"algorithm": "distill", "reference": ""}, "algorithm = distill needs a teacher; add --reference RUN"),
        ({"clip_rewards": 1.0}, "clip_rewards = 1.0 has no effect with reward = none; set it to 0.0"),
        ({"clip_rewards": 1.0, "kl_in": "rewards"}, "clip_rewards = 1.0 has no effect"),
        ({"group_size": 4}, "group_size = 4 has no effect with reward = none; set it to 1"),
        ({"scale_rewards": True}, "scale_rewards = True has no effect with reward = none; set it to False"),
        ({"risk_quantile": 0.1}, "risk_quantile = 0.1 has no effect"),
        ({"critic_warmup": 2}, "critic_warmup = 2 has no effect"),
        (
            {"kl_in": "rewards", "vf_coef": 0.0},
            "kl_in = rewards learns from a critic, which vf_coef = 0 leaves untrained",
        ),
    ],
)
def test_without_a_reward_settings_of_rewards_are_refused(settings, sentence):
    check_penalty(Config(reward="none", reference="RUN", kl_in="rewards", scale_rewards=True))
    with pytest.raises(UsageError, match=sentence):
        check_penalty(Config(**{"reward": "none", "reference": "RUN"} | settings))
