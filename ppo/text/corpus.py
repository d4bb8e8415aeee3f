"""The corpus: lines of a text file, and a text of our own for those who have none at hand."""

from pathlib import Path
from typing import TypeVar

from ppo.errors import UsageError

HELD_OUT = 10  # every tenth line

Line = TypeVar("Line")

# The opening of Lewis Carroll, Alice's Adventures in Wonderland (1865), in the public domain.
ALICE = """\
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice
she had peeped into the book her sister was reading, but it had no pictures or conversations in it, and what is the use
of a book, thought Alice, without pictures or conversations?
So she was considering in her own mind, as well as she could, for the hot day made her feel very sleepy and stupid,
whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when
suddenly a White Rabbit with pink eyes ran close by her.
There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say
to itself, Oh dear! Oh dear! I shall be late! But when the Rabbit actually took a watch out of its waistcoat-pocket, and
looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind that she had never before
seen a rabbit with either a waistcoat-pocket, or a watch to take out of it, and burning with curiosity, she ran across
the field after it, and fortunately was just in time to see it pop down a large rabbit-hole under the hedge.
In another moment down went Alice after it, never once considering how in the world she was to get out again.
The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that Alice had
not a moment to think about stopping herself before she found herself falling down a very deep well.
"""


def read_lines(path: str) -> list[str]:
    """Return the lines of a text file that are not empty; of the built-in text where `path` is empty.

    Raises:
        UsageError: there is no such file, it is no text, or it has no lines.
    """
    if not path:
        return ALICE.splitlines()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    found = [line for line in lines if line.strip()]
    if not found:
        raise UsageError(f"{path} has no lines; there is nothing to learn from")
    return found


def split(lines: list[Line], where: str) -> tuple[list[Line], list[Line]]:
    """Return the lines to learn from, and those that are held out.

    Raises:
        UsageError: there are too few; `where` names the corpus.
    """
    if len(lines) < HELD_OUT:
        raise UsageError(f"{where} has {len(lines)} lines; {HELD_OUT} are the least, since a tenth is held out")
    return [line for n, line in enumerate(lines) if n % HELD_OUT], lines[::HELD_OUT]
