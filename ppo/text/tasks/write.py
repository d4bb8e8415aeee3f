"""Write: lines like those of a corpus, each worth what a function or a reward model says of it."""

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ppo.errors import UsageError
from ppo.text.corpus import read_lines, vocabulary_of
from ppo.text.reward_model import RewardModel
from ppo.text.task import Completion, Score, Task
from ppo.text.vocabulary import Vocabulary


def write(
    corpus: str = "", tokens: str = "words", size: int = 0, max_tokens: int = 32, prompt: int = 0, reward: str = "",
    judge: str = "",
) -> Task:  # fmt: skip
    """Go on from the first words of a line of the corpus, or write a whole one.

    Args:
        corpus: as in `read_lines`; its lines of fewer than `max_tokens` tokens are what is to be learnt by `ppo pretrain`.
        tokens, size: as in `vocabulary_of`.
        max_tokens: longest response, the end token counted.
        prompt: how many tokens of a line are given.
        reward: the folder of a reward model (`ppo reward`), or `package.module:function` from completions to numbers; empty:
            none, for `ppo pretrain`.
        judge: the like; it is not rewarded, but logged as `episode/judge`.

    Raises:
        UsageError: there is no such corpus, function or reward model, or no line fits.
    """
    if prompt < 0:
        raise UsageError(f"prompt = {prompt} is out of range; choose 0 or the number of tokens that are given")
    lines = read_lines(corpus)
    vocabulary = vocabulary_of(lines, tokens, size)
    encoded = (vocabulary.encode(line) for line in lines)
    fitting = [line for line in encoded if prompt < len(line) < prompt + max_tokens]
    pairs = [(vocabulary.decode(line[:prompt]), vocabulary.decode(line[prompt:])) for line in fitting]
    if not pairs:
        raise UsageError(f"no line of {corpus or 'the built-in text'} has fewer than max_tokens = {max_tokens} tokens")

    def draw(rng: np.random.Generator) -> str:
        return pairs[rng.integers(len(pairs))][0]

    return Task(
        vocabulary, scorer(reward, vocabulary) if reward else None, max_tokens, draw, demonstrate=pairs,
        metrics={"judge": scorer(judge, vocabulary)} if judge else {},
    )  # fmt: skip


def scorer(name: str, vocabulary: Vocabulary) -> Score:
    """Return the reward function of a name: `package.module:function`, or the folder of a reward model.

    Raises:
        UsageError: there is none.
    """
    if Path(name).is_dir():
        return RewardModel(name, vocabulary)
    module, _, function = name.partition(":")
    try:
        found: Callable[[list[Completion]], list[float]] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"reward = {name!r} is no folder of a run and no package.module:function ({error})") from error
    return found
