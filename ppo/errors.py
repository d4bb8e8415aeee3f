"""The two exceptions of this package: a mistake that the user can correct, and a number that is not finite.

Every other exception is a bug or comes from the user's own code, and keeps its traceback.
"""

import traceback
import unicodedata
from typing import Any

DOCUMENTATION = "docs/{page}.md"  # the address of a page
BIDIRECTIONAL = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def address(page: str) -> str:
    """Return where a page of the documentation is, or a section of it: "environments#autoreset"."""
    name, mark, section = page.partition("#")
    return f"{DOCUMENTATION.format(page=name)}{mark}{section}"


def extra(name: str) -> str:
    """Return the command that installs an extra of this project from its folder; setup.cfg lists them."""
    return f'pip install -e ".[{name}]"'


class UsageError(Exception):
    """One sentence: what is wrong, the value, and what to do. The command line prints it and exits with code 2.

    Args:
        message: the sentence, or another UsageError, as it comes from a worker process.
        page: of the documentation, which explains the concept; see `address`. The text of the error ends with it.
    """

    def __init__(self, message: "str | UsageError", page: str = "") -> None:
        inner = message if isinstance(message, UsageError) else None
        super().__init__(inner.args[0] if inner else message)
        self.page: str = inner.page if inner else page

    def __str__(self) -> str:
        return f"{self.args[0]} (see {address(self.page)})" if self.page else f"{self.args[0]}"


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
    """Return an error as "Type: text", without line breaks and cut to `limit` characters, to quote in a sentence.

    Of an error without a text it is the line of code that raised it, such as an assertion.
    """
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    text = str(error) or (frames[0].line or "" if frames else "")
    return f"{type(error).__name__}: {' '.join(text.split())}"[:limit].removesuffix(": ")


def printable(text: str, keep: str = "\n\t") -> str:
    """Return a text with its control characters as escapes, so that it cannot command the terminal that shows it.

    Args:
        text: anything, perhaps of another person.
        keep: control characters that stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _commands(c) else c.encode("unicode_escape").decode() for c in text)


def _commands(character: str) -> bool:
    """Return whether a character is a control character, reverses the text, breaks the line, or is half of a pair."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDIRECTIONAL
