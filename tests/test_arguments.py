"""Arguments of a text environment that its function does not take."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from ppo import UsageError
from ppo.text.arguments import check_arguments


def task(
    length: int,
    letters: int | None = None,
    name: str = "",
    share: float = 0.5,
    strict: bool = False,
    other=None,
    words: list[str] = (),
    weights: dict[str, float] | None = None,
    read: Callable[[str], int] | None = None,
    old: int | None = 3,
):
    """Take arguments of many types."""


class Made:
    """Takes an argument as a class does."""

    def __init__(self, num_envs: int, size: int = 3) -> None:
        self.size = size


def test_arguments_of_their_types_pass():
    check_arguments("E-v0", task, {"length": 1, "letters": None, "name": "x", "share": 1, "strict": True, "other": [1]})
    check_arguments("E-v0", partial(Made, 4), {"size": 2})
    check_arguments("E-v0", lambda x, y=3: 0, {"x": "anything"})
    check_arguments("E-v0", task, {"length": 1, "words": ["a"], "weights": {"a": 1.0}, "read": len, "old": None})
    check_arguments("E-v0", task, {"length": np.int64(3), "share": np.float32(0.5)})


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        (
            lambda length, letters=3: 0,
            {"length": 1, "lenght": 2},
            "does not know the argument 'lenght'; it knows length, letters",
        ),
        (lambda: 0, {"x": 2}, "does not know the argument 'x'; it takes no arguments"),
        (lambda x, **more: 0, {"y": 2}, "needs the argument 'x'; give it with --env-kw"),
        (task, {"length": 1, "old": "x"}, "old = 'x' is not a whole number"),
        (task, {"length": "ten"}, "^E-v0: length = 'ten' is not a whole number$"),
        (task, {"length": True}, "length = True is not a whole number"),
        (task, {"length": 1, "letters": 2.5}, "letters = 2.5 is not a whole number"),
        (task, {"length": 1, "name": 5}, 'name = 5 is not a text, as in "5"'),
        (task, {"length": 1, "share": "half"}, "share = 'half' is not a number"),
        (task, {"length": 1, "strict": 3}, "strict = 3 is not true or false"),
        (partial(Made, 4), {"size": "x"}, "size = 'x' is not a whole number"),
    ],
)
def test_others_are_named(function, arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_arguments("E-v0", function, arguments)
