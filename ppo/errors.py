"""The two exceptions of this package: a mistake that the user can correct, and a number that is not finite.

Every other exception is a bug or comes from the user's own code, and keeps its traceback.
"""

from typing import Any


class UsageError(Exception):
    """One sentence: what is wrong, the value, and what to do. The command line prints it and exits with code 2."""


class NonFiniteError(Exception):
    """The first observation, reward, value, loss or gradient that is NaN or infinite, and where it arose.

    Args:
        message: one sentence.
        tensors: the rollout or minibatch in which it arose, by name, for inspection.
    """

    def __init__(self, message: str, tensors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.tensors = tensors or {}


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return an error as "Type: text", without line breaks and cut to `limit` characters, to quote in a sentence."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:limit].removesuffix(": ")
