"""Next token: predict each token of a corpus from the tokens before it; actor-critic language modelling."""

from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ppo.envs.text_env import Demonstration, TextEnv, generators
from ppo.errors import UsageError
from ppo.text.arguments import check_arguments
from ppo.text.corpus import read_lines, split, vocabulary_of

PARTS = ("all", "training", "held-out")


class NextTokenEnv(TextEnv):
    """Predict the next token of a line: reward 1 if the prediction is correct; the true token follows in either case.

    An episode is a line: it begins with the end token and ends when its own end token was predicted. The metric is the
    accuracy over the line.

    Args:
        num_envs: N.
        corpus: text file, one episode per line; empty: the built-in text.
        tokens: characters, words or bpe; see `ppo.text.corpus.vocabulary_of`.
        size: of the vocabulary; see there.
        part: which lines: all, training, or held-out (the tenth that `ppo pretrain` holds out too).

    Raises:
        UsageError: the corpus cannot be read or split, or the part is unknown.
    """

    written = False

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
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "ppo": {"metrics": ("accuracy",)}}
        self.single_observation_space = Discrete(self.vocabulary.size)
        self.single_action_space = Discrete(len(self.vocabulary))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.lengths = np.array([len(line) + 1 for line in encoded])
        self.table = np.full((len(encoded), self.lengths.max()), self.vocabulary.end)  # (lines, width)
        for row, line in zip(self.table, encoded, strict=True):
            row[: len(line)] = line
        self.rngs = generators(num_envs)
        self.line, self.position, self.correct = np.zeros((3, num_envs), np.int64)  # (N,) each

    @property
    def demonstrations(self) -> list[Demonstration]:
        """The lines of the corpus, without prompts."""
        return [([], row[: length - 1].tolist()) for row, length in zip(self.table, self.lengths, strict=True)]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new lines; `seed` seeds those of place 0, and counts up from there."""
        if seed is not None:
            self.rngs = generators(self.num_envs, seed)
        self._begin(np.ones(self.num_envs, bool))
        return self._obs(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Compare the predictions (N,) with the next tokens, and move on to those.

        Raises:
            UsageError: there are not N predictions.
        """
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise UsageError(f"actions = {actions} are not {self.num_envs} tokens")
        hits = actions == self.table[self.line, self.position]
        self.correct += hits
        self.position += 1
        done = self.position == self.lengths[self.line]
        infos: dict[str, Any] = {}
        if done.any():
            infos = {"accuracy": self.correct / self.lengths[self.line]}
            self._begin(done)
        return self._obs(), hits.astype(np.float64), done, np.zeros_like(done), infos

    def _begin(self, where: np.ndarray) -> None:
        self.line[where] = [self.rngs[n].integers(len(self.table)) for n in np.flatnonzero(where)]
        self.position[where] = self.correct[where] = 0

    def _obs(self) -> np.ndarray:
        previous = self.table[self.line, self.position - 1]
        return np.where(self.position == 0, self.vocabulary.end, previous)


def next_token(num_envs: int = 1, render_mode: str | None = None, **kwargs: Any) -> NextTokenEnv:
    """Make N copies of text/NextToken-v0; its arguments are those of `NextTokenEnv`."""
    check_arguments("text/NextToken-v0", partial(NextTokenEnv, num_envs), kwargs)
    return NextTokenEnv(num_envs, **kwargs)
