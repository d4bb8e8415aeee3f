"""The configuration: what is out of range, does not divide or is not known is named, with its value and what to do."""

import json
import math
from pathlib import Path

import pytest

from ppo import Config, UsageError

NAN, INF = math.nan, math.inf
BAD = [
    ({"total_timesteps": 0}, "total_timesteps = 0 is too small; choose at least 1"),
    ({"num_envs": 0}, "num_envs = 0 is too small; choose at least 1"),
    ({"num_steps": -4}, "num_steps = -4 is too small; choose at least 1"),
    ({"update_epochs": 0}, "update_epochs = 0 is too small; choose at least 1"),
    ({"num_minibatches": 0}, "num_minibatches = 0 is too small; choose at least 1"),
    ({"state_size": 0}, "state_size = 0 is too small; choose at least 1"),
    ({"threads": 0}, "threads = 0 is too small; choose a number from 1 to 1024"),
    ({"threads": 5000}, "threads = 5000 is out of range; choose a number from 1 to 1024"),
    ({"seed": -1}, "seed = -1 is too small; choose at least 0"),
    ({"seq_len": -1}, "seq_len = -1 is too small; choose at least 0"),
    ({"checkpoint_every": -1}, "checkpoint_every = -1 is too small; choose at least 0"),
    ({"eval_episodes": -1}, "eval_episodes = -1 is too small; choose at least 0"),
    ({"gamma": 1.01}, "gamma = 1.01 is out of range; choose a number from 0 to 1"),
    ({"gamma": NAN}, "gamma = nan is out of range"),
    ({"gae_lambda": -0.1}, "gae_lambda = -0.1 is too small; choose a number from 0 to 1"),
    ({"learning_rate": 0.0}, "learning_rate = 0.0 is out of range; choose a positive number"),
    ({"learning_rate": INF}, "learning_rate = inf is out of range"),
    ({"clip_coef": 0.0}, "clip_coef = 0.0 is out of range; choose a positive number"),
    ({"clip_coef": NAN}, "clip_coef = nan is out of range"),
    ({"ent_coef": -0.01}, "ent_coef = -0.01 is too small; choose at least 0"),
    ({"vf_coef": -1.0}, "vf_coef = -1.0 is too small; choose at least 0"),
    ({"max_grad_norm": -0.5}, "max_grad_norm = -0.5 is too small; choose at least 0"),
    ({"target_kl": NAN}, "target_kl = nan is out of range; choose at least 0"),
    ({"log_std_init": NAN}, "log_std_init = nan is out of range; choose a number from -10 to 2"),
    ({"log_std_init": INF}, "log_std_init = inf is out of range"),
    ({"hidden_sizes": (64, 0)}, "hidden_sizes = (64, 0): 0 is too small; choose at least 1"),
    ({"top_p": 1.5}, "top_p = 1.5 is out of range; choose a positive number, at most 1"),
    ({"top_p": 0.0}, "top_p = 0.0 is out of range; choose a positive number, at most 1"),
    ({"exp_name": "a/b"}, "exp_name = 'a/b' is part of a folder's name; leave out slashes and colons"),
    ({"kl_target": 6.0}, "kl_target = 6.0 needs a reference policy; name its run with --reference"),
    ({"group_size": 4}, "group_size = 4 compares whole returns; gamma = 0.99 must be 1"),
    ({"total_timesteps": 1023}, "total_timesteps = 1023 is less than one rollout of num_envs * num_steps = 1024"),
    (
        {"num_minibatches": 7},
        "num_envs * num_steps = 1024 does not divide into num_minibatches = 7; choose a divisor of 1024",
    ),
    ({"seq_len": 3}, "seq_len = 3 does not divide num_steps = 128"),
    ({"seq_len": 256}, "seq_len = 256 does not divide num_steps = 128"),
    ({"seq_len": 128, "num_minibatches": 16}, "seq_len = 128 does not divide num_steps = 128 into sequences that fill"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "sentence"), BAD, ids=[str(settings) for settings, _ in BAD])
def test_a_value_out_of_range_is_named_with_what_to_do(settings, sentence):
    with pytest.raises(UsageError) as caught:
        Config(**settings).validate()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"gamma": 0.0}, {"gamma": 1.0, "gae_lambda": 1.0}, {"max_grad_norm": 0.0}, {"vf_coef": 0.0}, {"seed": 0},
        {"eval_episodes": 0}, {"total_timesteps": 1024}, {"seq_len": 128, "num_minibatches": 8}, {"seq_len": 1},
        {"num_minibatches": 1024}, {"seed": 10**30}, {"log_std_init": -1.0}, {"log_std_init": "auto"},
        {"threads": "auto"}, {"threads": 2},
    ],
    ids=str,
)  # fmt: skip
def test_values_at_the_edge_are_good(settings):
    Config(**settings).validate()


@pytest.mark.parametrize(
    ("envs", "steps", "minibatches", "length"),
    [
        (8, 128, 4, 128),  # eight sequences of the whole rollout fill four minibatches
        (8, 128, 16, 64),  # 16 sequences of half of it fill sixteen
        (1, 2048, 32, 64),
        (2, 6, 3, 2),  # 2 sequences of 6 or 4 of 3 do not fill three minibatches; 6 of 2 do
        (3, 5, 5, 1),
    ],
)
def test_a_recurrent_policy_gets_the_longest_sequences_that_fill_the_minibatches(envs, steps, minibatches, length):
    config = Config(num_envs=envs, num_steps=steps, num_minibatches=minibatches)
    assert config.sequence_length(recurrent=True) == length
    assert config.sequence_length(recurrent=False) == 1


def test_a_sequence_length_that_is_asked_for_is_kept():
    assert Config(seq_len=32).sequence_length(recurrent=True) == 32
    assert Config(seq_len=32).sequence_length(recurrent=False) == 32


def test_every_setting_survives_json():
    config = Config(
        "Pendulum-v1", "a2c", "gru", seed=7, exp_name="name", runs_dir=Path("a/b"), env_kwargs={"g": 9.81, "on": True, "n": 3, "s": "x"},
        hidden_sizes=(32, 16), gamma=0.5, keep_checkpoints=True, compile="on", precision="bfloat16", threads=3,
    )  # fmt: skip
    assert Config().replace(json.loads(json.dumps(config.to_json()))) == config
