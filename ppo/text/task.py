"""The task: what the policy writes, from which prompts, for which reward; a vocabulary and a few functions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, Space

from ppo.errors import UsageError, one_line
from ppo.numbers import count
from ppo.text.completion import Completion
from ppo.text.vocabulary import Vocabulary

# Types, and their names in an error.
FUNCTION, INTEGER, FLAG = (Callable | None, "a function"), (Integral, "a whole number"), (bool, "True or False")
KINDS: dict[str, tuple[Any, str]] = {
    "vocabulary": (Vocabulary, "a Vocabulary"), "metrics": (Mapping, "functions by name"), "reward": FUNCTION,
    "prompt": (Callable, "a function"), "mask": FUNCTION, "reply": FUNCTION, "max_tokens": INTEGER, "min_tokens": INTEGER,
    "max_prompt": INTEGER, "missing_end": (Real, "a number"), "per_token": FLAG, "continues": FLAG,
    "demonstrate": (Callable | list | tuple | None, "a function or a list"),
}  # fmt: skip
MAX_PROMPT = 1024  # tokens; a longer prompt is an error unless the task raises the limit


def no_prompt(rng: np.random.Generator) -> str:
    """Return the empty prompt."""
    return ""


Score = Callable[[list[Completion]], Sequence[float]]


@dataclass(frozen=True)
class Task:
    """What a policy learns to write.

    Args:
        vocabulary: the tokens.
        reward: returns one number for each of a batch of finished completions; with `per_token`, of completions that just
            got a token. None: the task is for `ppo pretrain` only.
        max_tokens: most tokens that the policy writes in a response, end tokens included.
        prompt: draws a prompt, or a pair of prompt and info.
        mask: returns (B, V) bool for a batch of unfinished completions: which tokens may follow; the end token is last.
        features: what the policy sees together with the token: a space, and a function that returns B elements of it as a batch
            for B completions.
        min_tokens: fewest tokens of a response, the end token not counted.
        reply: returns the environment's reply to each of a batch of completions whose turn has just ended; None ends the
            sequence. Without this function, the first end token ends it.
        per_token: reward every token, not only the last one.
        continues: a response that reaches `max_tokens` is truncated (it bootstraps), not terminated.
        missing_end: subtracted from the reward of a response that reaches `max_tokens` without an end token.
        metrics: further functions like `reward`, by name, of finished completions; logged as `episode/NAME` and `eval/NAME`.
        demonstrate: demonstrations for `ppo pretrain`: a function that draws one (prompt, response), or in a dialogue
            (prompt, turn, reply, turn, …); or a list of them, of which a tenth is held out.
        max_prompt: most tokens of a prompt.
    """

    vocabulary: Vocabulary
    reward: Score | None
    max_tokens: int
    prompt: Callable[[np.random.Generator], str | tuple[str, Any]] = no_prompt
    mask: Callable[[list[Completion]], np.ndarray] | None = None
    features: tuple[Space[Any], Callable[[list[Completion]], Any]] | None = None
    min_tokens: int = 0
    reply: Callable[[list[Completion]], Sequence[str | None]] | None = None
    per_token: bool = False
    continues: bool = False
    missing_end: float = 0.0
    metrics: Mapping[str, Score] = field(default_factory=dict)
    demonstrate: Callable[[np.random.Generator], tuple[str, ...]] | Sequence[tuple[str, ...]] | None = None
    max_prompt: int = MAX_PROMPT

    def __post_init__(self) -> None:
        """Check types and limits.

        Raises:
            UsageError: names the argument.
        """
        for name, (kind, noun) in KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"{name} = {getattr(self, name)!r:.60} has the wrong type; give {noun}")
        for name, low in (("max_tokens", 1), ("max_prompt", 0)):
            if getattr(self, name) < low:
                raise UsageError(f"{name} = {getattr(self, name)} is too small; choose at least {low}")
        match self.features:
            case None | (Space(), Callable()):
                pass
            case _:
                raise UsageError(f"features = {self.features!r:.60} has the wrong type; give a space and a function")
        for name, function in self.metrics.items():
            if not callable(function) or not isinstance(name, str):
                raise UsageError(
                    f"the metric {name!r} = {function!r:.60} has the wrong type; give a function by its name"
                )
        if not math.isfinite(self.missing_end):
            raise UsageError(f"missing_end = {self.missing_end} is not finite; choose a number")
        reserved = sorted({"reward", "ended"} & set(self.metrics))
        if reserved:
            raise UsageError(f"every text task has a metric {reserved[0]!r}; give yours another name")
        if not 0 <= self.min_tokens < self.max_tokens:
            raise UsageError(f"min_tokens = {self.min_tokens} is out of range; choose 0 to {self.max_tokens - 1}")

    @property
    def masked(self) -> bool:
        """Whether the task rules tokens out."""
        return self.mask is not None or self.min_tokens > 0

    @property
    def observation_space(self) -> Space[Any]:
        """Of one observation: a token, or a Dict of a token, the features and the action mask."""
        token = Discrete(self.vocabulary.size)
        spaces = [("features", self.features[0])] if self.features else []
        spaces += [("action_mask", MultiBinary(len(self.vocabulary)))] if self.masked else []
        return Dict([("token", token), *spaces]) if spaces else token

    def draw(self, rng: np.random.Generator) -> tuple[list[int], Any]:
        """Draw a prompt; return its tokens and its info.

        Raises:
            UsageError: the prompt is too long, or has symbols that are not in the vocabulary.
        """
        drawn = call("prompt", self.prompt, rng)
        text, info = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, None)
        if not isinstance(text, str):
            raise UsageError(f"the task's prompt function returned {drawn!r:.80}; return a text, or a text and an info")
        tokens = self.vocabulary.encode(text, "the prompt")
        if len(tokens) > self.max_prompt:
            raise UsageError(
                f"the prompt {text[:60]!r} has {len(tokens)} tokens, more than max_prompt = {self.max_prompt}"
            )
        return tokens, info

    def allowed(self, completions: list[Completion]) -> np.ndarray:
        """Return which tokens may follow unfinished completions, (B, V) bool; all without a mask.

        Raises:
            UsageError: the task's mask raised, has another shape, or holds something else than true and false.
        """
        shape = len(completions), len(self.vocabulary)
        if self.mask is None:
            return np.ones(shape, bool)
        function = self.mask
        mask = call("mask", lambda: np.asarray(function(completions)))
        if mask.shape != shape:
            raise UsageError(
                f"the mask of {len(completions)} completions has the shape {mask.shape}; it must be {shape}"
            )
        if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
            other = mask[~np.isin(mask, (0, 1))].flat[0]
            raise UsageError(
                f"the mask of {len(completions)} completions holds {other}; give True where a token may follow"
            )
        return mask.astype(bool)

    def replies(self, completions: list[Completion]) -> list[list[int] | None]:
        """Return the tokens of the environment's replies to completions; None where there is none, which ends the sequence.

        Raises:
            UsageError: the task's function raised, or did not return a text or None for each.
        """
        if self.reply is None:
            return [None] * len(completions)
        replies = call("reply", self.reply, completions)
        if not isinstance(replies, Sequence) or isinstance(replies, str) or len(replies) != len(completions):
            what = f"{len(replies)} replies" if isinstance(replies, list | tuple) else f"{replies!r:.80}"
            raise UsageError(
                f"the task's reply function returned {what} to {len(completions)} completions; return one for each"
            )
        return [None if text is None else self.vocabulary.encode(text, "the reply") for text in replies]

    def demonstration(self, texts: Any) -> tuple[list[int], ...]:
        """Return the tokens of a demonstration: of a prompt and a response; in a dialogue, of a prompt, a turn, a reply, a turn, ….

        Raises:
            UsageError: it has another form, or symbols that are not in the vocabulary.
        """
        if not isinstance(texts, tuple | list) or not texts or len(texts) % 2:
            raise UsageError(
                f"a demonstration is {texts!r:.80}; give a pair of prompt and response, or (prompt, turn, reply, turn, …)"
            )
        if len(texts) > 2 and self.reply is None:
            raise UsageError(
                f"a demonstration is {texts!r:.80}, but the task does not reply; give a pair of prompt and response"
            )
        return tuple(self.vocabulary.encode(text, "a demonstration's text") for text in texts)

    def score(self, completions: list[Completion], name: str = "reward") -> np.ndarray:
        """Return the rewards (B,) of completions, or the metric of this name.

        Raises:
            UsageError: the function raised, or did not return one finite number for each completion.
        """
        function = self.reward if name == "reward" else self.metrics[name]
        if function is None:
            return np.zeros(len(completions))
        try:
            values = function(completions)
        except Exception as error:
            culprit = next((c for c in completions if _raises(function, c)), completions[0])
            raise UsageError(f"the {name} of {_quote(culprit)} raised {one_line(error)}") from error
        try:
            found = np.asarray(values)
            scores = found.astype(np.float64) if found.dtype.kind in "biufO" else np.empty(0)
        except Exception:  # an object of another library may raise anything when it is turned into an array
            scores = np.empty(0)
        if scores.shape != (len(completions),):
            what = count(len(scores), "number") if scores.ndim == 1 and len(scores) else f"{values!r:.80}"
            raise UsageError(f"the {name} of {len(completions)} completions is {what}; return one number for each")
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise UsageError(f"the {name} of {_quote(completions[bad[0]])} is {scores[bad[0]]}; return a finite number")
        return scores


def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a task and return its result.

    Raises:
        UsageError: it raised.
    """
    try:
        return function(*arguments)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"the task's {name} function raised {one_line(error)}") from error


def _quote(completion: Completion) -> str:
    return f"{completion.prompt!r} → {completion.response!r}"


def _raises(function: Score, completion: Completion) -> bool:
    try:
        function([completion])
    except Exception:
        return True
    return False
