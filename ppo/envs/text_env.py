"""Text environments: what they offer beyond Gymnasium."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from gymnasium.vector import VectorEnv
from torch import Tensor

from ppo.errors import UsageError

Demonstration = tuple[list[int], ...]  # token ids of a prompt, a turn of the policy, a reply, a turn, …


class Tokens(Protocol):
    """What other rooms read of a `ppo.text.Vocabulary`."""

    symbols: tuple[str, ...]
    end: int  # id of the token that begins and ends every sequence

    def encode(self, text: str, noun: str = "") -> list[int]:
        """Return the token ids of a text; `noun` names it in an error."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids, end tokens left out."""


class TextEnv(VectorEnv):
    """A VectorEnv in which one step is one token. Subclasses set `vocabulary` and override the rest as needed.

    Attributes:
        vocabulary: the tokens. A policy fits only environments with the same symbols.
        group_size: how many neighbouring environments share a prompt (GRPO).
        rewarded: whether there is a reward to train on.
        written: whether the text of an episode is the policy's; False: it only guesses a text that is shown.
        max_tokens: most tokens that the policy writes in a sequence, end tokens included; 0: no limit.
    """

    vocabulary: Tokens
    group_size: int = 1
    rewarded: bool = True
    written: bool = True
    max_tokens: int = 0

    @property
    def prompt_length(self) -> int:
        """Tokens of the longest prompt under way."""
        return 0

    @property
    def remembers(self) -> bool:
        """Whether texts change the environment beyond the end of their episodes."""
        return False

    @property
    def demonstrations(self) -> list[Demonstration]:
        """The sequences for `ppo pretrain`, which holds out a tenth; empty: `demonstrate` draws them."""
        return []

    def demonstrate(self, rng: np.random.Generator) -> Demonstration:
        """Draw a sequence for `ppo pretrain`.

        Raises:
            UsageError: the environment has none.
        """
        raise UsageError("the task has no demonstrations; give a text file with --corpus", page="text#pretraining")

    def render(self) -> tuple[str, ...]:
        """Return a line for each sample to log; none by default."""
        return ()

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the memory that outlives episodes, for a checkpoint; names begin with "task."."""
        return {}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""

    def set_training(self, training: bool) -> None:
        """Prepare for training, or for an evaluation."""


def generators(num_envs: int, seed: int | None = None) -> list[np.random.Generator]:
    """Return a generator of random numbers for each of N places: their texts do not depend on one another, nor on N."""
    return [np.random.default_rng(seed if seed is None else seed + n) for n in range(num_envs)]


def text_env(envs: VectorEnv) -> TextEnv | None:
    """Return the text environment inside the wrappers of a VectorEnv; None if it is not one."""
    env = envs.unwrapped
    return env if isinstance(env, TextEnv) else None


def check_rewarded(envs: VectorEnv, env_id: str, reward: str) -> None:
    """Refuse to learn from the reward of a text environment without one.

    Args:
        envs: the environments.
        env_id: names them in the error.
        reward: the setting; "none" needs no reward.

    Raises:
        UsageError: it has none.
    """
    text = text_env(envs)
    if reward != "none" and text is not None and not text.rewarded:
        raise UsageError(
            f"{env_id} has no reward to learn from; set one with --env-kwargs reward …", page="text#the-reward-model"
        )


def begin_training(envs: VectorEnv) -> None:
    """Tell a text environment that training begins."""
    text = text_env(envs)
    if text is not None:
        text.set_training(True)


@contextlib.contextmanager
def evaluation(envs: VectorEnv) -> Iterator[None]:
    """Evaluate in training environments: what a text environment remembers is afterwards as before."""
    text = text_env(envs)
    if text is None:
        yield
        return
    state = text.state_dict()
    text.set_training(False)
    try:
        yield
    finally:
        text.load_state_dict(state)
        text.set_training(True)
