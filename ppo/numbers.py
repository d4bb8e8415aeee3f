"""Numbers as people read them: four significant digits, and counts with a singular and a plural."""

import math


def number(value: float) -> str:
    """Return a number with four significant digits, and with all digits of its whole part up to a billion; – for NaN.

    >>> [number(x) for x in (0.955, -0.0834, 158.62, 27008.4, 9.0, 1e-7, math.nan)]
    ['0.955', '-0.0834', '158.6', '27,008', '9', '1e-07', '–']
    """
    if math.isnan(value):
        return "–"
    text = f"{value + 0.0:.4g}"  # + 0.0: without the sign of −0
    return f"{value:,.0f}" if 1000 <= abs(float(text)) < 1e9 else text


def count(amount: int, noun: str, plural: str = "") -> str:
    """Return an amount with its noun, or with the plural (by default noun + s) unless it is one.

    >>> count(1, "epoch"), count(2000, "step")
    ('1 epoch', '2,000 steps')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"
