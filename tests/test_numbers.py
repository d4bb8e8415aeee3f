"""Numbers as people read them."""

import math

import pytest

from ppo.numbers import count, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.955, "0.955"), (-0.083, "-0.083"), (158.62, "158.6"), (62.5, "62.5"), (9.0, "9"), (-1467.4, "-1,467"), (27008.0, "27,008"),
        (999.96, "1,000"), (0.000123456, "0.0001235"), (1e-7, "1e-07"), (0.0, "0"), (-0.0, "0"), (123456789.0, "123,456,789"),
        (1.5e12, "1.5e+12"), (1e308, "1e+308"), (math.inf, "inf"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_a_number_has_four_significant_digits_and_its_whole_part(value, text):
    assert number(value) == text


def test_one_has_the_singular():
    assert [count(n, "epoch") for n in (0, 1, 2, 1000)] == ["0 epochs", "1 epoch", "2 epochs", "1,000 epochs"]
