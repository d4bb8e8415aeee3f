"""String tasks: copy, reverse, dedup, add. A prompt asks, one answer is right; at best each of its places earns 1, solved 1."""

import string
from collections.abc import Callable

import numpy as np

from ppo.errors import UsageError
from ppo.text.task import Completion, Task
from ppo.text.vocabulary import Vocabulary

Sampler = Callable[[np.random.Generator], str]


def copy(length: int = 8, letters: int = 26) -> Task:
    """Write the prompt again: `abca>` asks for `abca`.

    Args:
        length: longest string; lengths are uniform from 1 to this, so that short ones are a curriculum for long ones.
        letters: how many letters there are, from a on.
    """
    return _strings(lambda rng: _random(rng, length, letters), lambda text: text, length, letters)


def reverse(length: int = 8, letters: int = 26) -> Task:
    """Write the prompt from its end: `abc>` asks for `cba`; arguments as in `copy`."""
    return _strings(lambda rng: _random(rng, length, letters), lambda text: text[::-1], length, letters)


def dedup(length: int = 8, letters: int = 26) -> Task:
    """Write the prompt without repetitions: `aabbba>` asks for `aba`; arguments as in `copy`."""

    def sample(rng: np.random.Generator) -> str:
        text = _random(rng, length, letters)
        again = rng.random(len(text)) < 0.5  # else repetitions would be rare
        return "".join(text[max(k for k in range(n + 1) if k == 0 or not again[k])] for n in range(len(text)))

    def runs(text: str) -> str:
        return "".join(letter for n, letter in enumerate(text) if n == 0 or letter != text[n - 1])

    return _strings(sample, runs, length, letters)


def add(digits: int = 3) -> Task:
    """Add two numbers and write the sum from the ones upwards, as one does by hand: `87+125=` asks for `212`.

    Args:
        digits: most digits of each number; how many it has is uniform from 1 to this.
    """

    _within("digits", digits, 18)

    def sample(rng: np.random.Generator) -> str:
        a, b = (int(rng.integers(10 ** int(rng.integers(1, digits + 1)))) for _ in range(2))
        return f"{a}+{b}"

    def total(text: str) -> str:
        a, b = text.split("+")
        return str(int(a) + int(b))[::-1]

    return _question(sample, total, Vocabulary("0123456789+="), "=", digits + 1)


def _strings(sample: Sampler, answer: Callable[[str], str], length: int, letters: int) -> Task:
    _within("length", length, 1000)
    _within("letters", letters, 26)
    return _question(sample, answer, Vocabulary(string.ascii_lowercase[:letters] + ">"), ">", length)


def _within(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(f"{name} = {value} is out of range; choose 1 to {most}")


def _random(rng: np.random.Generator, length: int, letters: int) -> str:
    return "".join(string.ascii_lowercase[n] for n in rng.integers(letters, size=rng.integers(1, length + 1)))


def _question(sample: Sampler, answer: Callable[[str], str], vocabulary: Vocabulary, asks: str, longest: int) -> Task:
    """Return the task to answer what `sample` draws; `asks` ends the prompt."""

    def prompt(rng: np.random.Generator) -> str:
        return sample(rng) + asks

    def expected(completion: Completion) -> str:
        return answer(completion.prompt.removesuffix(asks))

    def demonstrate(rng: np.random.Generator) -> tuple[str, str]:
        text = sample(rng)
        return text + asks, answer(text)

    def reward(completions: list[Completion]) -> list[float]:
        return [place(c, expected(c)) for c in completions]

    def solved(completions: list[Completion]) -> list[bool]:
        return [c.ended and c.response == expected(c) for c in completions]

    def invalid(completions: list[Completion]) -> list[bool]:
        return [not c.ended or not set(c.response).isdisjoint("+=>") for c in completions]

    metrics = {"solved": solved, "invalid": invalid}
    return Task(vocabulary, reward, longest + 1, prompt, per_token=True, metrics=metrics, demonstrate=demonstrate)


def place(completion: Completion, expected: str) -> float:
    """Return 1 where the last token is right at its place, the end token included, else 0."""
    last = len(completion.response_ids) - 1
    if completion.ended:
        right = last + 1 == len(expected)
    else:
        right = last < len(expected) and completion.response[last] == expected[last]
    return float(right)
