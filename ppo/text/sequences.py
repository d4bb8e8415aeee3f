"""The table of sequences: the tokens of N sequences that grow in place, and the position that each one shows."""

import itertools
from typing import Any

import numpy as np

from ppo.text.completion import Completion
from ppo.text.vocabulary import Vocabulary


class Sequences:
    """N sequences, each the end token, a prompt and a response so far.

    Args:
        num_envs: N.
        vocabulary: the tokens.
        max_tokens: longest response of the policy.

    Attributes:
        tokens: (N, width) int64, of which row n holds `lengths[n]`; widened for long prompts and replies.
        lengths: (N,) tokens of each sequence, the end token at its beginning included.
        prompt_lengths: (N,) how many of them are the end token and the prompt.
        positions: (N,) index of the token that the environment shows.
        decisions: (N,) how many tokens the policy wrote.
        infos: what the task drew together with each of the N prompts.
        turn_bounds: N lists of positions, where a reply begins and ends, in turn.
    """

    def __init__(self, num_envs: int, vocabulary: Vocabulary, max_tokens: int) -> None:
        self.vocabulary, self.max_tokens = vocabulary, max_tokens
        self.tokens = np.zeros((num_envs, 1 + max_tokens), np.int64)
        self.lengths, self.prompt_lengths, self.positions, self.decisions = np.zeros((4, num_envs), np.int64)
        self.infos: list[Any] = [None] * num_envs
        self.turn_bounds: list[list[int]] = [[] for _ in range(num_envs)]

    def begin(self, rows: np.ndarray, prompts: list[tuple[list[int], Any]]) -> None:
        """Replace sequences by the end token and a new prompt each, given as token ids and info."""
        for n, (prompt, info) in zip(rows, prompts, strict=True):
            length = 1 + len(prompt)
            self._widen(length + self.max_tokens)
            self.tokens[n, 0], self.tokens[n, 1:length] = self.vocabulary.end, prompt
            self.lengths[n] = self.prompt_lengths[n] = length
            self.infos[n], self.turn_bounds[n] = info, []
        self.positions[rows] = self.decisions[rows] = 0

    def at_last_token(self) -> np.ndarray:
        """Return (N,) bool: the sequence is at its last token, so that the policy decides the next one."""
        return self.positions == self.lengths - 1

    def current_tokens(self) -> np.ndarray:
        """Return the token at the position of each sequence, (N,)."""
        return self.tokens[np.arange(len(self.tokens)), self.positions]

    def append(self, rows: np.ndarray, tokens: np.ndarray) -> None:
        """Append a token of the policy to each of these sequences."""
        self.tokens[rows, self.lengths[rows]] = tokens
        self.lengths[rows] += 1
        self.decisions[rows] += 1

    def append_reply(self, n: int, tokens: list[int]) -> None:
        """Append the environment's reply to sequence n."""
        begin = int(self.lengths[n])
        end = begin + len(tokens)
        self._widen(end + self.max_tokens)
        self.tokens[n, begin:end] = tokens
        self.turn_bounds[n] += [begin, end]
        self.lengths[n] = end

    def completions(self, rows: np.ndarray) -> list[Completion]:
        """Return these sequences, finished or not."""
        columns = (x[rows].tolist() for x in (self.tokens, self.prompt_lengths, self.lengths))
        return [self._completion(*row) for row in zip(rows.tolist(), *columns, strict=True)]

    def _completion(self, n: int, tokens: list[int], begin: int, stop: int) -> Completion:
        ended = stop > begin and tokens[stop - 1] == self.vocabulary.end
        bounds = [begin, *self.turn_bounds[n], stop - ended]
        turns = tuple(tuple(tokens[first:last]) for first, last in itertools.pairwise(bounds))
        response = turns[0] if len(turns) == 1 else tuple(tokens[begin : bounds[-1]])
        return Completion(self.vocabulary, tuple(tokens[1:begin]), response, ended, self.infos[n], turns)

    def _widen(self, width: int) -> None:
        if width > self.tokens.shape[1]:
            more = np.zeros((len(self.tokens), 2 * width - self.tokens.shape[1]), np.int64)
            self.tokens = np.concatenate([self.tokens, more], axis=1)
