"""Next token: guess each token of a corpus from those before it; actor-critic language modelling."""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ppo.errors import UsageError
from ppo.text.corpus import read_lines, split, vocabulary_of

PARTS = ("all", "training", "held-out")


class NextTokenEnv(VectorEnv):
    """Guess the next token of a line; reward 1 where the guess is right, and the true token follows in any case.

    An episode is a line: it begins after the end token of the one before and ends with its own. Its accuracy is the metric.

    Args:
        num_envs: N.
        corpus: text file, one line an episode; empty: the built-in text.
        tokens, size: as in `ppo.text.corpus.vocabulary_of`.
        part: which lines: all, training, or held-out, the tenth that `ppo pretrain` holds out too.

    Raises:
        UsageError: the corpus cannot be read or split, or there is no such part.
    """

    def __init__(
        self, num_envs: int = 1, corpus: str = "", tokens: str = "characters", size: int = 0, part: str = "all"
    ) -> None:
        lines = read_lines(corpus)
        self.vocabulary = vocabulary_of(lines, tokens, size)
        if part not in PARTS:
            raise UsageError(f"part = {part!r} is unknown; choose {', '.join(PARTS)}")
        if part != "all":
            lines = split(lines, corpus)[part == "held-out"]
        encoded = [self.vocabulary.encode(line) for line in lines]
        self.demonstrations: list[tuple[list[int], list[int]]] = [([], line) for line in encoded]
        self.num_envs = num_envs
        self.metadata = {
            "autoreset_mode": AutoresetMode.SAME_STEP, "metrics": ("accuracy",), "symbols": self.vocabulary.symbols,
        }  # fmt: skip
        self.single_observation_space = Discrete(self.vocabulary.size)
        self.single_action_space = Discrete(len(self.vocabulary))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.lengths = np.array([len(line) + 1 for line in encoded])
        self.table = np.full((len(encoded), self.lengths.max()), self.vocabulary.end)  # (lines, width)
        for row, line in zip(self.table, encoded, strict=True):
            row[: len(line)] = line
        self.rng = np.random.default_rng()
        self.line, self.at, self.right = np.zeros((3, num_envs), np.int64)  # (N,) each

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with new lines."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self._begin(np.ones(self.num_envs, bool))
        return self._obs(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Compare the guesses with the next tokens, and go on to those."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise UsageError(f"actions = {actions} are not {self.num_envs} tokens")
        hits = actions == self.table[self.line, self.at]
        self.right += hits
        self.at += 1
        done = self.at == self.lengths[self.line]
        infos: dict[str, Any] = {}
        if done.any():
            infos = {"metrics": {"accuracy": self.right / self.lengths[self.line]}, "_metrics": done}
            self._begin(done)
        return self._obs(), hits.astype(np.float64), done, np.zeros_like(done), infos

    def _begin(self, where: np.ndarray) -> None:
        self.line[where] = self.rng.integers(len(self.table), size=int(where.sum()))
        self.at[where] = self.right[where] = 0

    def _obs(self) -> np.ndarray:
        before = self.table[self.line, self.at - 1]
        return np.where(self.at == 0, self.vocabulary.end, before)
