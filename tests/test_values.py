"""Values from outside: a TOML file is read, and its values get the types of the dataclass's annotations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from ppo import Config, UsageError
from ppo.config.values import convert, read_toml


@dataclass
class Made:
    whole: int = 1
    number: float = 1.0
    either: float | Literal["auto"] = "auto"
    word: Literal["a", "b"] = "a"
    path: Path = Path()
    widths: tuple[int, ...] = ()
    table: dict[str, int | str] | None = None


@pytest.mark.parametrize(
    ("name", "value", "converted"),
    [
        ("whole", 3, 3), ("number", 3, 3.0), ("either", 3, 3.0), ("either", "auto", "auto"), ("word", "b", "b"),
        ("path", "x", Path("x")), ("path", Path("x"), Path("x")), ("widths", [1, 2], (1, 2)), ("widths", (1,), (1,)),
        ("table", {"a": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_a_value_gets_the_type_of_its_annotation(name, value, converted):
    result = convert({name: value}, Made, "FILE")[name]
    assert (result, type(result)) == (converted, type(converted))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("whole", True, "whole = True in FILE is not a whole number"),
        ("either", "many", "either = 'many' in FILE is not a number or \"auto\""),
        ("word", "c", "word = 'c' in FILE is not one of a, b"),
        ("widths", [1, "x"], "widths = [1, 'x'] in FILE is not a list of whole numbers"),
        ("absent", 1, "unknown key absent in FILE"),
    ],
)
def test_a_value_of_another_type_is_named_with_the_right_type(name, value, sentence):
    with pytest.raises(UsageError) as caught:
        convert({name: value}, Made, "FILE")
    assert sentence in str(caught.value)


def test_toml_sets_by_name_and_leaves_the_rest(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('gamma = 0\nhidden_sizes = [16, 8]\nruns_dir = "out"\nenv_kwargs = {g = 1.5}\nanneal_lr = false\n')
    config = Config(seed=5).replace(read_toml(path), str(path))
    assert (config.gamma, type(config.gamma), config.hidden_sizes) == (0.0, float, (16, 8))
    assert (config.runs_dir, config.env_kwargs, config.anneal_lr, config.seed) == (Path("out"), {"g": 1.5}, False, 5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gama = 0.9", "unknown key gama in FILE; did you mean gamma?"),
        ("zeta = 1\nalpha = 2", "unknown key alpha, zeta in FILE"),
        ("[ppo]\ngamma = 0.9", "unknown key ppo in FILE"),
        ('gae_lambda = "high"', "gae_lambda = 'high' in FILE is not a number"),
        ("num_envs = 4.5", "num_envs = 4.5 in FILE is not a whole number"),
        ("num_envs = true", "num_envs = True in FILE is not a whole number"),
        ("anneal_lr = 1", "anneal_lr = 1 in FILE is not true or false"),
        ("env_id = 3", "env_id = 3 in FILE is not text"),
        ("hidden_sizes = 64", "hidden_sizes = 64 in FILE is not a list of whole numbers"),
        ("hidden_sizes = [64, 1.5]", "hidden_sizes = [64, 1.5] in FILE is not a list of whole numbers"),
        ("env_kwargs = [1]", "env_kwargs = [1] in FILE is not a table"),
        ("env_kwargs = {day = 2024-01-01}", "in FILE is not a table of JSON values"),
        ("gamma = 2.0", "gamma = 2.0 in FILE is out of range; choose a number from 0 to 1"),
        ('algorithm = "trpo"', "algorithm = 'trpo' in FILE is not one of ppo, a2c, reinforce"),
        ('device = "tpu"', "device = 'tpu' in FILE is not one of auto, cpu, cuda"),
        ('compile = "yes"', "compile = 'yes' in FILE is not one of auto, on, off"),
        ('precision = "float16"', "precision = 'float16' in FILE is not one of auto, float32, bfloat16"),
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


def test_a_byte_order_mark_and_a_whole_number_with_an_exponent_are_read(tmp_path):
    (tmp_path / "settings.toml").write_bytes(b"\xef\xbb\xbftotal_timesteps = 1e6\n")
    assert Config().replace(read_toml(tmp_path / "settings.toml")).total_timesteps == 1_000_000


def test_a_missing_file_is_named_once(tmp_path):
    with pytest.raises(UsageError) as caught:
        read_toml(tmp_path / "absent.toml")
    assert str(caught.value) == f"cannot read settings from {tmp_path / 'absent.toml'}: No such file or directory"


@pytest.mark.parametrize(
    "content",
    [None, b"a = " + b"[" * 100_000, b"gamma: 0.9\n", b"gamma = 0.9\ngamma = 0.8", b"\xff\xfe\x00", b"gamma ="],
)
def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path, content):
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    assert f"cannot read settings from {path}: " in str(caught.value)
    assert "\n" not in str(caught.value)
