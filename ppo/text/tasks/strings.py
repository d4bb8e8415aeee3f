"""String tasks: copy, reverse, dedup, add. One correct answer per prompt; each correct position earns 1."""

import string
from collections.abc import Callable

import numpy as np

from ppo.errors import UsageError
from ppo.text.completion import Completion
from ppo.text.task import Task
from ppo.text.vocabulary import Vocabulary

Sampler = Callable[[np.random.Generator], str]


def copy(length: int = 8, letters: int = 26) -> Task:
    """Copy the prompt: `abca>` → `abca`.

    Args:
        length: longest string; lengths are uniform from 1 to it, so that short strings are a curriculum for long ones.
        letters: size of the alphabet, from a on.
    """
    return _strings(lambda rng: _random_text(rng, length, letters), lambda text: text, length, letters)


def reverse(length: int = 8, letters: int = 26) -> Task:
    """Reverse the prompt: `abc>` → `cba`; arguments as in `copy`."""
    return _strings(lambda rng: _random_text(rng, length, letters), lambda text: text[::-1], length, letters)


def dedup(length: int = 8, letters: int = 26) -> Task:
    """Remove repeated letters: `aabbba>` → `aba`; arguments as in `copy`."""

    def sample(rng: np.random.Generator) -> str:
        text = _random_text(rng, length, letters)
        repeat = rng.random(len(text)) < 0.5  # otherwise repetitions would be rare
        return "".join(text[max(k for k in range(n + 1) if k == 0 or not repeat[k])] for n in range(len(text)))

    def runs(text: str) -> str:
        return "".join(letter for n, letter in enumerate(text) if n == 0 or letter != text[n - 1])

    return _strings(sample, runs, length, letters)


def add(digits: int = 3) -> Task:
    """Add two numbers and write the digits of the sum from the last to the first: `87+125=` → `212`.

    Args:
        digits: most digits of each number; the number of digits is uniform from 1 to it.
    """
    _check_range("digits", digits, 18)

    def sample(rng: np.random.Generator) -> str:
        a, b = (int(rng.integers(10 ** int(rng.integers(1, digits + 1)))) for _ in range(2))
        return f"{a}+{b}"

    def total(text: str) -> str:
        a, b = text.split("+")
        return str(int(a) + int(b))[::-1]

    return _answer_task(sample, total, Vocabulary("0123456789+="), "=", digits + 1)


def _strings(sample: Sampler, answer: Callable[[str], str], length: int, letters: int) -> Task:
    _check_range("length", length, 1000)
    _check_range("letters", letters, 26)
    return _answer_task(sample, answer, Vocabulary(string.ascii_lowercase[:letters] + ">"), ">", length)


def _check_range(name: str, value: int, largest: int) -> None:
    if not 1 <= value <= largest:
        raise UsageError(f"{name} = {value} is out of range; choose 1 to {largest}")


def _random_text(rng: np.random.Generator, length: int, letters: int) -> str:
    return "".join(string.ascii_lowercase[n] for n in rng.integers(letters, size=rng.integers(1, length + 1)))


def _answer_task(
    sample: Sampler, answer: Callable[[str], str], vocabulary: Vocabulary, mark: str, longest: int
) -> Task:
    """Return the task to answer prompts that `sample` draws; `mark` ends a prompt."""

    def prompt(rng: np.random.Generator) -> str:
        return sample(rng) + mark

    def expected(completion: Completion) -> str:
        return answer(completion.prompt.removesuffix(mark))

    def demonstrate(rng: np.random.Generator) -> tuple[str, str]:
        text = sample(rng)
        return text + mark, answer(text)

    def reward(completions: list[Completion]) -> list[float]:
        return [last_position(c, expected(c)) for c in completions]

    def solved(completions: list[Completion]) -> list[bool]:
        return [c.ended and c.response == expected(c) for c in completions]

    def invalid(completions: list[Completion]) -> list[bool]:
        return [not c.ended or not set(c.response).isdisjoint("+=>") for c in completions]

    metrics = {"solved": solved, "invalid": invalid}
    return Task(vocabulary, reward, longest + 1, prompt, per_token=True, metrics=metrics, demonstrate=demonstrate)


def last_position(completion: Completion, expected: str) -> float:
    """Return 1 if the last token, which may be the end token, is correct at its position, else 0."""
    last = len(completion.response_ids) - 1
    if completion.ended:
        correct = last + 1 == len(expected)
    else:
        correct = last < len(expected) and completion.response[last] == expected[last]
    return float(correct)
