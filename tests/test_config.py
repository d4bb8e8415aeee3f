"""The configuration: what is out of range, does not divide or is not known is named, with its value and what to do."""

import json
import math
from pathlib import Path

import pytest

from ppo import Config, UsageError
from ppo.config.values import read_toml

NAN, INF = math.nan, math.inf
BAD = [
    ({"total_timesteps": 0}, "total_timesteps = 0 is too small; choose at least 1"),
    ({"num_envs": 0}, "num_envs = 0 is too small; choose at least 1"),
    ({"num_steps": -4}, "num_steps = -4 is too small; choose at least 1"),
    ({"update_epochs": 0}, "update_epochs = 0 is too small; choose at least 1"),
    ({"num_minibatches": 0}, "num_minibatches = 0 is too small; choose at least 1"),
    ({"state_size": 0}, "state_size = 0 is too small; choose at least 1"),
    ({"threads": 0}, "threads = 0 is too small; choose at least 1"),
    ({"threads": 5000}, "threads = 5000 is too large; choose at most the number of cores"),
    ({"seed": -1}, "seed = -1 is too small; choose at least 0"),
    ({"seq_len": -1}, "seq_len = -1 is too small; choose at least 0"),
    ({"checkpoint_every": -1}, "checkpoint_every = -1 is too small; choose at least 0"),
    ({"eval_episodes": -1}, "eval_episodes = -1 is too small; choose at least 0"),
    ({"gamma": 1.01}, "gamma = 1.01 is out of range; choose a number from 0 to 1"),
    ({"gamma": NAN}, "gamma = nan is out of range"),
    ({"gae_lambda": -0.1}, "gae_lambda = -0.1 is out of range; choose a number from 0 to 1"),
    ({"learning_rate": 0.0}, "learning_rate = 0.0 is out of range; choose a positive number"),
    ({"learning_rate": INF}, "learning_rate = inf is out of range"),
    ({"clip_coef": 0.0}, "clip_coef = 0.0 is out of range; choose a positive number"),
    ({"clip_coef": NAN}, "clip_coef = nan is out of range"),
    ({"ent_coef": -0.01}, "ent_coef = -0.01 is out of range; choose 0 or a positive number"),
    ({"vf_coef": -1.0}, "vf_coef = -1.0 is out of range; choose 0 or a positive number"),
    ({"max_grad_norm": -0.5}, "max_grad_norm = -0.5 is out of range; choose 0 or a positive number"),
    ({"target_kl": NAN}, "target_kl = nan is out of range; choose 0 or a positive number"),
    ({"log_std_init": NAN}, "log_std_init = nan is out of range"),
    ({"log_std_init": INF}, "log_std_init = inf is out of range"),
    ({"hidden_sizes": (64, 0)}, "hidden_sizes = (64, 0) is out of range; give widths of at least 1"),
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
        "Pendulum-v1", "a2c", "gru", 7, "name", Path("a/b"), env_kwargs={"g": 9.81, "on": True, "n": 3, "s": "x"},
        hidden_sizes=(32, 16), gamma=0.5, keep_checkpoints=True, compile="on", precision="bfloat16", threads=3,
    )  # fmt: skip
    assert Config().replace(json.loads(json.dumps(config.to_json()))) == config


def test_toml_sets_by_name_and_leaves_the_rest(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('gamma = 0\nhidden_sizes = [16, 8]\nruns_dir = "out"\nenv_kwargs = {g = 1.5}\nanneal_lr = false\n')
    config = Config(seed=5).replace(read_toml(path), str(path))
    assert (config.gamma, type(config.gamma), config.hidden_sizes) == (0.0, float, (16, 8))
    assert (config.runs_dir, config.env_kwargs, config.anneal_lr, config.seed) == (Path("out"), {"g": 1.5}, False, 5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gama = 0.9", "unknown key gama in FILE; the keys are the flags of `ppo train`"),
        ("zeta = 1\nalpha = 2", "unknown key alpha, zeta in FILE"),
        ("[ppo]\ngamma = 0.9", "unknown key ppo in FILE"),
        ('gamma = "high"', "gamma = 'high' in FILE is not a number"),
        ("num_envs = 4.0", "num_envs = 4.0 in FILE is not a whole number"),
        ("num_envs = true", "num_envs = True in FILE is not a whole number"),
        ("anneal_lr = 1", "anneal_lr = 1 in FILE is not true or false"),
        ("env_id = 3", "env_id = 3 in FILE is not text"),
        ("hidden_sizes = 64", "hidden_sizes = 64 in FILE is not a list of whole numbers"),
        ("hidden_sizes = [64, 1.5]", "hidden_sizes = [64, 1.5] in FILE is not a list of whole numbers"),
        ("env_kwargs = [1]", "env_kwargs = [1] in FILE is not a table"),
        ('algorithm = "trpo"', "algorithm = 'trpo' in FILE is not one of ppo, a2c, reinforce"),
        ('device = "tpu"', "device = 'tpu' in FILE is not one of auto, cpu, cuda"),
        ('compile = "yes"', "compile = 'yes' in FILE is not one of auto, on, off"),
        ('precision = "float16"', "precision = 'float16' in FILE is not one of float32, bfloat16"),
        ('threads = "many"', "threads = 'many' in FILE is "),
        ("threads = 1.5", "threads = 1.5 in FILE is "),
        ("threads = true", "threads = True in FILE is "),
        ('log_std_init = "loud"', "log_std_init = 'loud' in FILE is not a number"),
    ],
)
def test_toml_that_no_run_can_follow_is_named(tmp_path, text, sentence):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        Config().replace(read_toml(path), "FILE")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("before", ["auto", 1])
@pytest.mark.parametrize("name", ["threads", "log_std_init"])
@pytest.mark.parametrize(("text", "value"), [('"auto"', "auto"), ("2", 2)])
def test_some_settings_are_a_number_or_auto(tmp_path, name, before, text, value):
    path = tmp_path / "settings.toml"
    path.write_text(f"{name} = {text}")
    assert getattr(Config(**{name: before}).replace(read_toml(path)), name) == value


@pytest.mark.parametrize("content", [None, b"gamma: 0.9\n", b"gamma = 0.9\ngamma = 0.8", b"\xff\xfe\x00", b"gamma ="])
def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path, content):
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    assert f"cannot read settings from {path}: " in str(caught.value)
    assert "\n" not in str(caught.value)
