"""Write: lines like those of a corpus, rewarded by a function or a reward model."""

from pathlib import Path

import numpy as np

from ppo.errors import UsageError
from ppo.machine.imports import import_name
from ppo.text.corpus import read_lines, vocabulary_of
from ppo.text.reward_model import RewardModel
from ppo.text.task import Score, Task
from ppo.text.vocabulary import Vocabulary


def write(
    corpus: str = "", tokens: str = "words", size: int = 0, max_tokens: int = 32, prompt: int = 0, reward: str = "",
    judge: str = ""
) -> Task:  # fmt: skip
    """Continue the first tokens of a line of the corpus, or write a whole line.

    Args:
        corpus: as in `read_lines`; `ppo pretrain` learns the lines whose responses fit in `max_tokens`.
        tokens: characters, words or bpe; see `ppo.text.corpus.vocabulary_of`.
        size: of the vocabulary; see there.
        max_tokens: most tokens of a response, the end token included.
        prompt: number of tokens of a line that are the prompt.
        reward: the folder of a reward model (`ppo reward`), or `package.module:function`, a function from completions to
            numbers; empty: no reward, for `ppo pretrain` only.
        judge: a second score of the same kind, logged as `episode/judge` and not part of the reward.

    Raises:
        UsageError: the corpus, the function or the reward model does not exist, or no line fits.
    """
    if prompt < 0:
        raise UsageError(f"prompt = {prompt} is out of range; choose 0 or more tokens")
    lines = read_lines(corpus)
    vocabulary = vocabulary_of(lines, tokens, size)
    encoded = (vocabulary.encode(line) for line in lines)
    fitting = [line for line in encoded if prompt < len(line) < prompt + max_tokens]
    pairs = [(vocabulary.decode(line[:prompt]), vocabulary.decode(line[prompt:])) for line in fitting]
    if not pairs:
        where, longer = corpus or "the built-in text", f"more than prompt = {prompt} and " if prompt else ""
        limit = f"prompt + max_tokens = {prompt + max_tokens}" if prompt else f"max_tokens = {max_tokens}"
        raise UsageError(f"no line of {where} has {longer}fewer than {limit} tokens")

    def draw_prompt(rng: np.random.Generator) -> str:
        return pairs[rng.integers(len(pairs))][0]

    return Task(
        vocabulary, scorer("reward", reward, vocabulary) if reward else None, max_tokens, draw_prompt, demonstrate=pairs,
        metrics={"judge": scorer("judge", judge, vocabulary)} if judge else {},
    )  # fmt: skip


def scorer(setting: str, name: str, vocabulary: Vocabulary) -> Score:
    """Return the function that scores completions.

    Args:
        setting: "reward" or "judge", for the error's sentence.
        name: the folder of a reward model, or `package.module:function`.
        vocabulary: the task's.

    Raises:
        UsageError: it does not exist.
    """
    if Path(name).is_dir():
        return RewardModel(name, vocabulary)
    if ":" not in name:
        raise UsageError(f"{setting} = {name!r} is neither a run folder nor package.module:function")
    function: Score = import_name(name, setting)
    return function
