"""Errors are one sentence."""

import torch

from ppo.errors import NonFiniteError, one_line


def test_an_error_is_quoted_in_one_line_with_its_type():
    assert one_line(ValueError("first\n   second")) == "ValueError: first second"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(OSError("x" * 500), limit=20) == "OSError: xxxxxxxxxxx"


def test_a_non_finite_error_holds_the_tensors_around_it():
    assert NonFiniteError("loss is nan").tensors == {}
    assert NonFiniteError("loss is nan", {"obs": torch.ones(1)}).tensors["obs"].item() == 1
