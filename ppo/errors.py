"""The two exceptions of this package: a mistake the user can mend, and a number that is not finite.

Everything else that is raised is a bug or comes from the user's own code, and keeps its traceback.
"""

from typing import Any


class UsageError(Exception):
    """Say in one sentence what is wrong, the value, and what to do; the command line exits with code 2."""


class NonFiniteError(Exception):
    """Name the first observation, reward, value, loss or gradient that is NaN or infinite, and where it arose.

    Args:
        message: the one sentence.
        tensors: the rollout or minibatch in which it arose, by name, for inspection.
    """

    def __init__(self, message: str, tensors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.tensors = tensors or {}


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return an error as "Type: text", without line breaks and cut to `limit` characters, to quote in a sentence."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:limit].removesuffix(": ")
