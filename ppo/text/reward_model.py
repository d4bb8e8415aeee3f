"""The reward model: a policy whose value after the last token of a text is what the text is worth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor

from ppo.errors import UsageError
from ppo.run.load import load
from ppo.text.env import packed
from ppo.text.task import Completion
from ppo.text.vocabulary import Vocabulary


class RewardModel:
    """Score completions by a run of `ppo reward`.

    Args:
        run: the run's folder.
        vocabulary: of the task.

    Raises:
        UsageError: the folder is no such run, or it is of another vocabulary.
    """

    def __init__(self, run: str, vocabulary: Vocabulary) -> None:
        saved = load(run)
        if saved.meta["made_by"] != "reward":
            raise UsageError(f"{run} is not a reward model; train one with `ppo reward`")
        if not saved.meta["finished"]:
            raise UsageError(
                f"the training of the reward model {run} was interrupted; train it again with `ppo reward`"
            )
        if saved.meta["spaces"].get("symbols") != list(vocabulary.symbols):
            raise UsageError(
                f"the reward model {run} was trained with another vocabulary; take the same corpus and tokens"
            )
        self.policy, self.space, self.end = saved.policy, saved.obs_space, vocabulary.end

    def __call__(self, completions: list[Completion]) -> list[float]:
        """Return what each completion is worth, prompt and response as one text."""
        return self.of([[*c.prompt_ids, *c.response_ids] for c in completions])

    @torch.no_grad()
    def of(self, texts: list[list[int]]) -> list[float]:
        """Return what each text, in tokens, is worth."""
        state = self.policy.initial_state(len(texts))
        found: list[float] = score(self.policy, state, texts, self.end, self.space).tolist()
        return found


def score(policy: Callable[..., Any], state: Tensor, texts: list[list[int]], end: int, space: Space[Any]) -> Tensor:
    """Return the value (B,) of a policy after each text, its end token included.

    Args:
        policy: (obs, state, starts) -> dist, values, state.
        state: (B, H), with which episodes begin.
        texts: B of them, in tokens.
        end: the end token.
        space: of one observation.
    """
    tokens, starts = shown(texts, end)
    values = policy(packed(space, tokens, state.device), state, torch.from_numpy(starts).to(state.device))[1]  # (T, B)
    lengths = torch.tensor([len(text) + 1 for text in texts], device=state.device)  # the place of the last end token
    return values.gather(0, lengths.unsqueeze(0))[0]


def shown(texts: list[list[int]], end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return texts as (T, B) tokens, each after an end token and followed by end tokens, and where they begin, bool."""
    tokens = np.full((max(map(len, texts)) + 2, len(texts)), end)
    for n, text in enumerate(texts):
        tokens[1 : 1 + len(text), n] = text
    return tokens, np.arange(len(tokens))[:, None].repeat(len(texts), 1) == 0
