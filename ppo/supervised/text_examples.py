"""Sequences of a text task to learn by maximum likelihood: the lines of a corpus, or the task's own demonstrations."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch

from ppo.envs.text_env import Demonstration, TextEnv
from ppo.loop.trainer import Trainer
from ppo.supervised.streams import Window
from ppo.text.corpus import read_lines, split
from ppo.text.env import pack_tokens


class TextExamples:
    """Sequences of tokens; see `ppo.supervised.pretrain.Examples`.

    Args:
        trainer: of the policy.
        env: its environment.
        corpus: text file, one sequence per line; empty: the task's own demonstrations.

    Raises:
        UsageError: there are no demonstrations, the task shows features, or a line has symbols that are not in the vocabulary.
    """

    tag = "eval/perplexity"
    score = staticmethod(math.exp)
    returns = None
    windows = 4

    def __init__(self, trainer: Trainer, env: TextEnv, corpus: str) -> None:
        self.space, self.device = trainer.envs.single_observation_space, trainer.parts.device.value
        pack_tokens(self.space, np.array([env.vocabulary.end]), self.device)  # refuses a task with features
        self.notes: list[str] = []
        training, held_out, self.distinct = _sources(trainer, env, corpus, self.notes)
        self.training = _pieces(_note_long(training, env.max_tokens, self.notes), env.vocabulary.end)
        self.held_out = _pieces(held_out, env.vocabulary.end)

    def window(self, table: np.ndarray) -> Window:
        """Return the window of tokens, starts, valid and next tokens, (4, T, N)."""
        starts, valid, actions = (torch.from_numpy(x).to(self.device) for x in table[1:])
        obs = pack_tokens(self.space, table[0], self.device)
        return Window(obs, starts.bool(), valid.bool(), actions, torch.zeros_like(actions))


def _pieces(sequences: Iterator[Demonstration], end: int) -> Iterator[np.ndarray]:
    for sequence in sequences:
        yield np.array(rows(sequence, end)).reshape(-1, 4).T


def _sources(
    trainer: Trainer, env: TextEnv, corpus: str, notes: list[str]
) -> tuple[Iterator[Demonstration], Iterator[Demonstration], float]:
    """Return endless sequences for training, others for evaluation, and how many tokens of the latter differ."""
    seed = trainer.config.seed
    rng = np.random.default_rng(seed)
    sequences = env.demonstrations
    if corpus:
        sequences = [([], env.vocabulary.encode(line, f"a line of {corpus}")) for line in read_lines(corpus)]
    if sequences:
        training, held_out = split(sequences, corpus or trainer.config.env_id)
        _note_repeats(training, held_out, notes)
        distinct = sum(len(turn) + 1 for sequence in held_out for turn in sequence[1::2])
        return _shuffle(training, rng), _shuffle(held_out, np.random.default_rng(0)), distinct
    return _demonstrate(env, rng), _demonstrate(env, np.random.default_rng(10**9 + seed)), math.inf


def _note_repeats(training: list[Demonstration], held_out: list[Demonstration], notes: list[str]) -> None:
    known = {_hash(sequence) for sequence in training}
    again = sum(_hash(sequence) in known for sequence in held_out)
    if again:
        notes.append(
            f"{again:,} of {len(held_out):,} held-out sequences are in the training too, so the perplexity is lower than that of new texts"
        )


def _hash(sequence: Demonstration) -> int:
    return hash(tuple(map(tuple, sequence)))


def _note_long(sequences: Iterator[Demonstration], max_tokens: int, notes: list[str]) -> Iterator[Demonstration]:
    """Pass sequences on; the first one whose turns are longer than the task allows adds a note."""
    noted = False
    for sequence in sequences:
        length = sum(len(turn) + 1 for turn in sequence[1::2])  # each turn ends with the end token
        if 0 < max_tokens < length and not noted:
            noted = True
            notes.append(
                f"a demonstration has {length} tokens, more than max_tokens = {max_tokens}: the policy learns its end, but "
                "the task stops before"
            )
        yield sequence


def _demonstrate(env: TextEnv, rng: np.random.Generator) -> Iterator[Demonstration]:
    while True:
        yield env.demonstrate(rng)


def _shuffle(sequences: list[Demonstration], rng: np.random.Generator) -> Iterator[Demonstration]:
    while True:
        for n in rng.permutation(len(sequences)):
            yield sequences[n]


def rows(sequence: Demonstration, end: int) -> list[tuple[int, bool, bool, int]]:
    """Return (token, start, valid, next token) for each step of a sequence.

    Args:
        sequence: token ids of a prompt, a turn of the policy, a reply, a turn, ….
        end: the end token, which begins the sequence and ends each turn.
    """
    prompt, *parts = sequence
    tokens, own = [end, *prompt], [False] * (1 + len(prompt))
    for n, part in enumerate(parts):
        turn = [*part, end] if n % 2 == 0 else part
        tokens += turn
        own += [n % 2 == 0] * len(turn)
    # The policy cannot write read-only tokens, whose ids follow the end token.
    return [
        (token, n == 0, own[n + 1] and following <= end, min(following, end))
        for n, (token, following) in enumerate(itertools.pairwise(tokens))
    ]
