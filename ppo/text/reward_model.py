"""The reward model: a policy whose value after the last token of a text is the reward of the text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor

from ppo.errors import UsageError
from ppo.run.load import load
from ppo.text.completion import Completion
from ppo.text.env import pack_tokens
from ppo.text.vocabulary import Vocabulary


class RewardModel:
    """Score completions with a run of `ppo reward`, on the scale of the texts that it was standardised on.

    Args:
        run: the run's folder.
        vocabulary: the task's.

    Raises:
        UsageError: the folder is not a finished run of `ppo reward`, or the run has another vocabulary.
    """

    def __init__(self, run: str, vocabulary: Vocabulary) -> None:
        saved = load(run)
        if saved.meta["made_by"] != "reward":
            raise UsageError(f"{run} is not a reward model; train one with `ppo reward`", page="text#the-reward-model")
        if not saved.meta["finished"]:
            raise UsageError(
                f"the training of the reward model {run} was interrupted; train it again with `ppo reward`"
            )
        if saved.meta["spaces"].get("symbols") != list(vocabulary.symbols):
            raise UsageError(f"the reward model {run} has another vocabulary; use the same corpus, tokens and size")
        self.policy, self.space, self.end = saved.policy, saved.obs_space, vocabulary.end
        scale = saved.meta.get("scores") or {"mean": 0.0, "deviation": 1.0}  # older files have none
        self.mean, self.deviation = scale["mean"], scale["deviation"]

    def __call__(self, completions: list[Completion]) -> list[float]:
        """Return the reward of each completion, prompt and response read as one text."""
        return self.score_texts([[*c.prompt_ids, *c.response_ids] for c in completions])

    @torch.no_grad()
    def score_texts(self, texts: list[list[int]]) -> list[float]:
        """Return the reward of each text, given as token ids: (s − mean) / deviation."""
        state = self.policy.initial_state(len(texts))
        values = score(self.policy, state, texts, self.end, self.space)
        scores: list[float] = ((values - self.mean) / self.deviation).tolist()
        return scores


def score(policy: Callable[..., Any], state: Tensor, texts: list[list[int]], end: int, space: Space[Any]) -> Tensor:
    """Return a policy's value (B,) after the end token that follows each text.

    Args:
        policy: (obs, state, starts) -> dist, values, state.
        state: (B, H), the initial state.
        texts: B texts as token ids.
        end: the end token.
        space: of one observation.
    """
    tokens, starts = pad(texts, end)
    obs = pack_tokens(space, tokens, state.device)
    values = policy(obs, state, torch.from_numpy(starts).to(state.device))[1]  # (T, B)
    lengths = torch.tensor([len(text) + 1 for text in texts], device=state.device)  # index of the end token after it
    return values.gather(0, lengths.unsqueeze(0))[0]


def pad(texts: list[list[int]], end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens (T, B), each text between end tokens, and starts (T, B) bool, True in the first row."""
    tokens = np.full((max(map(len, texts)) + 2, len(texts)), end)
    for n, text in enumerate(texts):
        tokens[1 : 1 + len(text), n] = text
    return tokens, np.arange(len(tokens))[:, None].repeat(len(texts), 1) == 0
