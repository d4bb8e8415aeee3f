"""Errors are one sentence."""

import pickle

import pytest
import torch

from ppo.errors import NonFiniteError, UsageError, address, one_line, printable


def test_an_error_is_quoted_in_one_line_with_its_type():
    assert one_line(ValueError("first\n   second")) == "ValueError: first second"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(OSError("x" * 500), limit=20) == "OSError: xxxxxxxxxxx"


def test_an_error_without_a_text_is_quoted_with_the_line_that_raised_it():
    size = 4
    with pytest.raises(AssertionError) as caught:
        assert_odd(size)
    assert one_line(caught.value) == "AssertionError: raise AssertionError # an odd number is needed"


def assert_odd(size):
    if size % 2 == 0:
        raise AssertionError  # an odd number is needed


def test_a_non_finite_error_holds_the_tensors_around_it():
    assert NonFiniteError("loss is nan").tensors == {}
    assert NonFiniteError("loss is nan", {"obs": torch.ones(1)}).tensors["obs"].item() == 1


def test_an_error_about_a_concept_ends_with_its_page():
    error = UsageError("the mode is missing; set it", "environments#autoreset")
    expected = "the mode is missing; set it (see docs/environments.md#autoreset)"
    copy = pickle.loads(pickle.dumps(error))  # it passes between processes, where Gymnasium raises type(error)(error)
    assert [str(error), str(copy), str(UsageError(copy))] == [expected] * 3
    assert UsageError(copy).args == ("the mode is missing; set it",)
    assert str(UsageError("num_envs = 0 is too small")) == "num_envs = 0 is too small"
    assert address("start") == "docs/start.md"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — ünïcode 中 👩\u200d🚀 \u00a0", None),
        ("two\n\tlines", None),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x00\r\x08\x7f\x9b", r"\x00\r\x08\x7f\x9b"),
        ("txt.\u202egnp", r"txt.\u202egnp"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("\udcff", r"\udcff"),
    ],
)
def test_control_characters_are_shown_as_escapes(text, shown):
    assert printable(text) == (text if shown is None else shown)
    printable(text).encode()


def test_one_line_has_no_line_break():
    assert printable("a\nb\tc", keep="") == r"a\nb\tc"
