"""The corpus: lines of a text file, their vocabulary, and a built-in text."""

import re
from collections import Counter
from typing import TypeVar

from ppo.errors import UsageError
from ppo.numbers import count
from ppo.text.ratings import find, read, text_lines
from ppo.text.vocabulary import Vocabulary

HELD_OUT = 10  # every tenth line is held out
TOKENS = ("characters", "words", "bpe")
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # the tokenizer writes a space as this character
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # read-only symbol for everything outside the vocabulary
WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")  # a word or a punctuation mark

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
    """Return the non-empty lines of a text file; an empty `path` means the built-in text.

    Args:
        path: a text file; or rated texts (*.jsonl or a fetched data set, see `ppo.text.ratings`), a text to a line, after its
            prompt and a space if it has one.

    Raises:
        UsageError: the file does not exist, is not text, or has no lines.
    """
    if not path:
        return ALICE.splitlines()
    if find(path).suffix == ".jsonl":
        rated = read(path)
        texts = (f"{rated.prompts.get(n, '')} {text}" for n, text in enumerate(rated.texts))
        return [" ".join(text.split()) for text in texts if text.strip()]
    return [line for line in text_lines(path) if line.strip()]


def split(lines: list[Line], where: str, noun: str = "lines", least: int = HELD_OUT) -> tuple[list[Line], list[Line]]:
    """Return the training lines and the held-out lines: each tenth, from the first.

    Args:
        lines: or other sequences.
        where: names the corpus in the error.
        noun: names the sequences there.
        least: of them.

    Raises:
        UsageError: there are fewer.
    """
    if len(lines) < least:
        raise UsageError(
            f"{where} has {count(len(lines), noun[:-1])}; give at least {least}, since a tenth is held out"
        )
    return [line for n, line in enumerate(lines) if n % HELD_OUT], lines[::HELD_OUT]


def vocabulary_of(lines: list[str], tokens: str, size: int = 0) -> Vocabulary:
    """Return the vocabulary of a corpus.

    Args:
        lines: the corpus.
        tokens: "characters"; "words", lower case, punctuation marks separate; or "bpe", pieces of words by byte-pair
            encoding of these lines (Sennrich et al. 2016), which needs the package tokenizers.
        size: keep this many of the most frequent symbols and replace the others by one read-only symbol; 0: keep all. With
            "bpe", the number of pieces, which must be given.

    Raises:
        UsageError: the kind of token is unknown, or its package or size is missing.
    """
    if tokens not in TOKENS:
        raise UsageError(f"tokens = {tokens!r} is unknown; choose {', '.join(TOKENS)}")
    if size < 0:
        raise UsageError(f"size = {size} is out of range; choose 0 or more symbols")
    if tokens == "bpe":
        return _pieces(lines, size)
    split_text = _words if tokens == "words" else list
    counts = Counter(symbol for line in lines for symbol in split_text(line))
    symbols = sorted(counts.keys() - {UNKNOWN}, key=lambda symbol: (-counts[symbol], symbol))[: size or None]
    unknown = UNKNOWN if len(symbols) < len(counts) else ""
    separator = " " if tokens == "words" else ""
    return Vocabulary(sorted(symbols), separator, [unknown] if unknown else [], split_text, unknown)


def _pieces(lines: list[str], size: int) -> Vocabulary:
    if not size:
        raise UsageError("tokens = 'bpe' needs the number of pieces; give a size, for example size 2000")
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    except ModuleNotFoundError as error:
        raise UsageError(f"tokens = 'bpe' needs {error.name}; pip install tokenizers") from error
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)

    def split_text(text: str) -> list[str]:
        return [piece.replace(SPACE, " ") for piece in tokenizer.encode(text).tokens]

    pieces = sorted(piece.replace(SPACE, " ") for piece in tokenizer.get_vocab() if piece != UNKNOWN)
    return Vocabulary(pieces, "", [UNKNOWN], split_text, UNKNOWN)


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
