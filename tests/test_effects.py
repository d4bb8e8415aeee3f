"""Settings without an effect are refused."""

import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from ppo import Config, UsageError
from ppo.config.effects import check_actions, check_episodes, check_needs, check_network, check_together


@pytest.mark.parametrize(
    ("name", "value"), [("kl_coef", 0.5), ("kl_target", 6.0), ("kl_in", "loss"), ("reward", "none")]
)
def test_a_setting_needs_the_setting_that_it_acts_with(name, value):
    check_needs(Config(**{name: value, "reference": "RUN"}))
    check_needs(Config())
    with pytest.raises(
        UsageError, match=f"{name} = {value} has no effect without reference; add --reference or leave out {name}"
    ):
        check_needs(Config(**{name: value}))


def test_the_horizon_of_an_adaptive_penalty_needs_its_target():
    check_needs(Config(kl_horizon=5, kl_target=6.0, reference="RUN"))
    with pytest.raises(
        UsageError, match="kl_horizon = 5 has no effect without kl_target; add --kl-target or leave out kl_horizon"
    ):
        check_needs(Config(kl_horizon=5, reference="RUN"))


@pytest.mark.parametrize(
    ("settings", "space", "sentence"),
    [
        ({"top_k": 5}, MultiDiscrete([4, 2]), "top_k = 5 has no effect, since an action has 4 choices; choose fewer"),
        ({"top_k": 5}, Box(-1, 1, (2,)), "top_k = 5 has no effect: no part of an action is a choice"),
        ({"temperature": 0.5}, MultiBinary(2), "temperature = 0.5 has no effect: no part of an action is a choice"),
        ({"action_bound": "tanh"}, Discrete(2), "action_bound = 'tanh' has no effect: no part of an action is a Box"),
        ({"log_std_init": -1.0}, Discrete(2), "log_std_init = -1.0 has no effect: no part of an action is a Box"),
        (
            {"target_entropy": 0.7},
            Discrete(2),
            "target_entropy = 0.7 cannot be reached: that of uniform actions is 0.693 nats",
        ),
        (
            {"target_entropy": 1.0, "top_k": 2},
            Discrete(5),
            "target_entropy = 1.0 cannot be reached: that of uniform actions is 0.693 nats",
        ),
        ({}, Text(3), "action space is Text, which is not supported"),
    ],
)
def test_a_setting_without_effect_on_the_actions_is_named(settings, space, sentence):
    check_actions(Config(**settings), Tuple([Discrete(9), Box(-1, 1, (1,))]))
    with pytest.raises(UsageError, match=sentence):
        check_actions(Config(**settings), space)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"critic_warmup": 10, "total_timesteps": 10_240},
            "critic_warmup = 10 iterations of 1,024 rows may leave nothing of total_timesteps = 10,240 to the actor; choose fewer",
        ),
        ({"critic_warmup": 1, "vf_coef": 0.0}, "critic_warmup = 1 has no effect with vf_coef = 0, since the critic does not learn"),
        ({"separate_critic": True, "feedforward_critic": True}, "choose one of the two"),
    ],
)  # fmt: skip
def test_settings_of_the_critic_that_do_not_go_together_are_refused(settings, sentence):
    check_together(Config(critic_warmup=9, total_timesteps=10_240))
    with pytest.raises(UsageError, match=sentence):
        check_together(Config(**settings))


@pytest.mark.parametrize(
    ("policy", "refused"), [("cnn", True), ("mlp", True), ("impala", False), ("gru", False), ("my:Net", False)]
)
def test_convolutions_need_a_policy_that_chooses_them(policy, refused):
    settings = Config(convolutions="impala")
    if refused:
        with pytest.raises(UsageError, match=f"has no effect on the {policy} policy; use --policy impala"):
            check_network(settings, policy)
    else:
        check_network(settings, policy)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"group_size": 4}, "group_size = 4 compares whole returns; gamma = 0.99 must be 1"),
        ({"risk_quantile": 0.1}, "risk_quantile = 0.1 compares whole returns; gamma = 0.99 must be 1"),
        ({"risk_quantile": 0.1, "gamma": 1.0}, "risk_quantile = 0.1 weighs .* add --no-norm-adv"),
        (
            {"num_envs": 1, "num_steps": 8, "num_minibatches": 8},
            "norm_adv leaves nothing .* num_minibatches below 8, or --no-norm-adv",
        ),
        (
            {"reference": "RUN", "kl_target": 6.0, "kl_coef": 0.0},
            "kl_target = 6.0 adapts kl_coef .* choose a positive number",
        ),
        ({"stop_at": "return 5"}, "stop_at = 'return 5' is not METRIC >= NUMBER"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_together(Config(**settings))
    check_together(Config(risk_quantile=0.1, gamma=1.0, norm_adv=False))


def test_risk_seeking_needs_rollouts_in_which_an_episode_fits():
    settings = Config(risk_quantile=0.1, num_steps=64)
    with pytest.raises(UsageError, match="an episode may have 65 steps; raise num_steps = 64 to several times that"):
        check_episodes(settings, 65)
    check_episodes(settings, 64)
    check_episodes(Config(num_steps=64), 65)
