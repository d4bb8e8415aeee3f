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
    ({"exp_name": "a/b"}, "exp_name = 'a/b' is part of a folder's name; leave out slashes, colons and control"),
    ({"kl_target": 6.0}, "kl_target = 6.0 has no effect without reference; add --reference or leave out kl_target"),
    ({"kl_coef": 0.5}, "kl_coef = 0.5 has no effect without reference; add --reference or leave out kl_coef"),
    ({"learning_rate": 1e39}, "learning_rate = 1e+39 is too large for float32; choose a positive number, up to 3.4e+38"),
    ({"clip_coef": 1e300}, "clip_coef = 1e+300 is too large for float32"),
    ({"vf_coef": 1e300}, "vf_coef = 1e+300 is too large for float32; choose at least 0, up to 3.4e+38"),
    ({"temperature": 1e-46}, "temperature = 1e-46 is too small; choose at least 1e-06"),
    ({"seed": 2**63}, "seed = 9223372036854775808 is too large for int64; choose at least 0, up to 9,223,372,036,854,775,807"),
    ({"num_envs": 10**9, "total_timesteps": 10**12}, "num_envs * num_steps = 128000000000 is too large: the run needs at least"),
    ({"hidden_sizes": (10**11,)}, "hidden_sizes = (100000000000,) is too large: the run needs at least 1,600 GB of memory"),
    ({"max_episode_steps": -1}, "max_episode_steps = -1 is too small; choose at least 0"),
    ({"max_episode_steps": 5, "env_kwargs": {"max_episode_steps": 9}},
     "max_episode_steps = 5, but env_kwargs has max_episode_steps = 9; leave out one of the two"),
    ({"wrap": ("a:B", "Frames 3")}, "wrap = 'Frames 3': it must begin with package.module:Class"),
    ({"wrap": ("a:B 3 4",)}, "wrap = 'a:B 3 4': '3' is not the name of an argument; write KEY VALUE or KEY=VALUE"),
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
        {"num_minibatches": 1024, "norm_adv": False}, {"seed": 2**63 - 1}, {"log_std_init": -1.0}, {"log_std_init": "auto"},
        {"threads": "auto"}, {"threads": 2}, {"kl_coef": 0.5, "reference": "RUN"}, {"temperature": 1e-6},
    ],
    ids=str,
)  # fmt: skip
def test_values_at_the_edge_are_good(settings):
    Config(**settings).validate()


def test_every_setting_survives_json():
    config = Config(
        "Pendulum-v1", "a2c", "gru", seed=7, exp_name="name", runs_dir=Path("a/b"), env_kwargs={"g": 9.81, "on": True, "n": 3, "s": "x"},
        hidden_sizes=(32, 16), wrap=("a:B n=3", "c:D"), gamma=0.5, keep_checkpoints=True, compile="on", precision="bfloat16", threads=3,
    )  # fmt: skip
    assert Config().replace(json.loads(json.dumps(config.to_json()))) == config


def test_a_resumed_run_may_change_what_is_not_fixed():
    config = Config().change({"learning_rate": 1e-3, "num_envs": 4, "total_timesteps": 10**6, "env_kwargs": {"a": 1}})
    assert (config.learning_rate, config.num_envs, config.env_kwargs) == (1e-3, 4, {"a": 1})
    for name in ("env_id", "algorithm", "seed", "optimizer", "scale_rewards", "hidden_sizes", "policy", "runs_dir"):
        with pytest.raises(UsageError, match=f"{name} is fixed when a run begins; to change it, start a new run"):
            Config().change({name: Config().to_json()[name]})


def test_a_resumed_runs_arguments_are_changed_one_by_one():
    config = Config().replace({"env_kwargs": {"a": 1, "b": 2}})
    assert config.change({"env_kwargs": {"b": None, "c": 3}}).env_kwargs == {"a": 1, "c": 3}
    assert config.change({"gamma": 0.5}).env_kwargs == {"a": 1, "b": 2}
