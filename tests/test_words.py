"""Words of a command line are read as JSON and TOML read them, and any other word is text."""

import json
import shlex

import pytest

from ppo import UsageError
from ppo.cli import main as cli
from ppo.config.words import (
    environment_words,
    override,
    read_number,
    read_pairs,
    read_value,
    read_whole,
    read_wrappers,
    write_pairs,
)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True), ("false", False), ("True", True), ("False", False), ("null", None), ("None", None), ("-1", -1), ("0.5", 0.5),
        ("1e3", 1000.0), ("1_000", 1000), ("0x1F", 31), ("[1, 'a']", [1, "a"]), ('{"a": null}', {"a": None}),
        ("{a = 1}", {"a": 1}), ('"007"', "007"), ("'true'", "true"), ("red", "red"), ("3d", "3d"), ("/data/x=1", "/data/x=1"),
        ("2024-01-01", "2024-01-01"), ("1 # one", "1 # one"), ("1, b = 2", "1, b = 2"), ("1}\nb = {c = 2", "1}\nb = {c = 2"), ("", ""),
    ],
)  # fmt: skip
def test_a_word_is_what_json_or_toml_reads_or_else_text(word, value):
    assert (read_value(word), type(read_value(word))) == (value, type(value))


@pytest.mark.parametrize(
    "word",
    [
        "007",
        "inf",
        "no",
        "Off",
        "FALSE",
        "1e400",
        "1.",
        ".5",
        "infinity",
        "[1",
        "{1}",
        '"a',
        "[2024-01-01]",
        "[" * 100_000,
    ],
)
def test_a_word_that_is_almost_a_value_is_named(word):
    with pytest.raises(ValueError, match=r"is not a value that JSON or TOML reads; .*for a text |is nested too deeply"):
        read_value(word)


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        (["a", "1", "b", "x"], {"a": 1, "b": "x"}), (["a=1", "b=x=y"], {"a": 1, "b": "x=y"}), (["a", "b=c", "d=2"], {"a": "b=c", "d": 2}),
        (["a="], {"a": ""}), ([], {}),
    ],
)  # fmt: skip
def test_arguments_are_pairs_of_words_or_words_with_an_equals_sign(words, pairs):
    assert read_pairs(words) == pairs


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a"], "a has no value"),
        (["a=1", "a", "2"], "a has two values"),
        (["1", "2"], "'1' is not the name of an argument"),
    ],
)
def test_words_that_are_not_arguments_are_named(words, sentence):
    with pytest.raises(ValueError, match=f"{sentence}; write KEY VALUE or KEY=VALUE"):
        read_pairs(words)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("a.b:C", "a.b:C", {}), ("a:B n 4", "a:B", {"n": 4}), ("a:B n=4 s=x", "a:B", {"n": 4, "s": "x"}),
        ("a:B shape '[84, 84]'", "a:B", {"shape": [84, 84]}), ("a:B 's=two words' t='\"3\"'", "a:B", {"s": "two words", "t": "3"}),
    ],
)  # fmt: skip
def test_a_wrapper_is_a_class_and_its_arguments(text, name, arguments):
    assert read_wrappers([text]) == [(name, arguments)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it must begin with package.module:Class"), (":B", "it must begin with"), ("a:", "it must begin with"),
        ("a:B n", "n has no value"), ("a:B n=1 n=2", "n has two values"), ("a:B 'n", "a quotation mark is open, or a backslash ends it"),
    ],
)  # fmt: skip
def test_a_wrapper_that_cannot_be_read_is_named(text, sentence):
    with pytest.raises(UsageError) as caught:
        read_wrappers(["a:B", text])
    assert str(caught.value).startswith(f"wrap = {text!r}: {sentence}")


def test_written_words_are_read_as_the_same_values():
    values = [
        True,
        None,
        3,
        -0.5,
        1e300,
        "x",
        "true",
        "007",
        "3",
        "",
        "a b",
        '"q"',
        "[1",
        [1, "2"],
        {"a": {"b": [None]}},
    ]
    pairs = {f"key{n}": value for n, value in enumerate(values)}
    assert read_pairs(write_pairs(pairs)) == pairs
    assert json.dumps(read_pairs(write_pairs(pairs))) == json.dumps(pairs)  # with their types


@pytest.mark.parametrize(
    ("word", "number"), [("12", 12), ("1e6", 10**6), ("1_000_000", 10**6), ("2.5e3", 2500), ("-4.0", -4)]
)
def test_a_whole_number_may_have_an_exponent_or_underscores(word, number):
    assert (read_whole(word), type(read_whole(word))) == (number, int)


@pytest.mark.parametrize("word", ["four", "1.5", "1e400", "inf", "nan", "", "9" * 5000])
def test_what_is_not_a_whole_number_is_named(word):
    with pytest.raises(ValueError, match=f"'{word}' is not a whole number"):
        read_whole(word)


def test_a_number_is_read():
    assert read_number("3e-4") == 3e-4
    with pytest.raises(ValueError, match="'high' is not a number"):
        read_number("high")


@pytest.mark.parametrize(
    "words",
    [
        "CartPole-v1",
        "CartPole-v1 --env-kwargs sutton_barto_reward true --max-episode-steps 30 --critic-key told",
        "CartPole-v1 --wrap gymnasium.wrappers:FrameStackObservation stack_size 4 --wrap gymnasium.wrappers:FlattenObservation",
        "CartPole-v1 --resize 40 --critic-key ''",
    ],
)
def test_the_words_of_an_environment_are_read_as_it(words):
    settings = cli.parse(["train", *shlex.split(words)]).settings
    again = cli.parse(["train", *environment_words(settings, settings.env_kwargs)]).settings
    assert again == settings


def test_changes_follow_one_another_and_none_removes():
    assert override({"a": 1, "b": 2}, {"b": None, "c": 3}, {"c": 4, "a": None}) == {"c": 4}
