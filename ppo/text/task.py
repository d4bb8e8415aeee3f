"""The task: what is written, from which prompts, and what it is worth; a vocabulary and a few functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppo.errors import UsageError
from ppo.text.vocabulary import Vocabulary

FUNCTION = Callable | None, "a function"  # what it is to be, and how to say so
KINDS: dict[str, tuple[Any, str]] = {
    "vocabulary": (Vocabulary, "a Vocabulary"), "metrics": (Mapping, "functions by name"), "reward": FUNCTION,
    "prompt": FUNCTION, "mask": FUNCTION, "reply": FUNCTION,
}  # fmt: skip
MAX_PROMPT = 1024  # tokens; a longer prompt is taken for a mistake unless the task allows it


@dataclass(frozen=True)
class Completion:
    """A sequence that was written, or is being written: the prompt and what came after it."""

    vocabulary: Vocabulary
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]  # without the end token
    ended: bool  # by an end token
    info: Any = None  # what the prompt's function gave beside the prompt
    parts: tuple[tuple[int, ...], ...] = ()  # the response again: the policy's turns and the environment's in between

    def __str__(self) -> str:
        """Return prompt and response in a line; a response without an end is followed by …."""
        return f"{self.prompt} → {' / '.join(self.said)}{'' if self.ended else ' …'}"

    @property
    def prompt(self) -> str:
        """The prompt as text."""
        return self.vocabulary.decode(self.prompt_ids)

    @property
    def response(self) -> str:
        """What came after the prompt, as text."""
        return self.vocabulary.decode(self.response_ids)

    @property
    def said(self) -> tuple[str, ...]:
        """The policy's turns, and between them the environment's replies, as texts."""
        return tuple(self.vocabulary.decode(part) for part in self.parts or (self.response_ids,))


def no_prompt(rng: np.random.Generator) -> str:
    """Return the empty prompt."""
    return ""


Score = Callable[[list[Completion]], Sequence[float]]


@dataclass(frozen=True)
class Task:
    """What a policy is to write.

    Args:
        vocabulary: the tokens.
        reward: scores a batch of completions; those that are finished, or with `per_token` those that just got a token,
            which is then scored. None: there is only something to learn for `ppo pretrain`.
        max_tokens: longest response, the end token counted.
        prompt: draws a prompt, or a pair of prompt and info.
        mask: (B, V) bool for a batch of completions under way, which tokens may follow; the end token is the last.
        min_tokens: shortest response, the end token not counted.
        reply: for a batch of completions that just ended their turn, what the environment writes in answer, or None
            where the sequence is over. It ends all of them by default.
        per_token: score after every token.
        continues: a response that reaches `max_tokens` is cut and not over (it is truncated, and bootstraps).
        missing_end: docked where a response reaches `max_tokens` without an end token.
        metrics: further scores of finished completions, logged as `episode/NAME` and `eval/NAME`.
        demonstrate: draws a prompt and a good response, for `ppo pretrain`, or where the environment replies, a prompt, and
            turns and replies alternately; or all such, a tenth of which it holds out.
        max_prompt: longest prompt, in tokens.
    """

    vocabulary: Vocabulary
    reward: Score | None
    max_tokens: int
    prompt: Callable[[np.random.Generator], str | tuple[str, Any]] = no_prompt
    mask: Callable[[list[Completion]], np.ndarray] | None = None
    min_tokens: int = 0
    reply: Callable[[list[Completion]], Sequence[str | None]] | None = None
    per_token: bool = False
    continues: bool = False
    missing_end: float = 0.0
    metrics: Mapping[str, Score] = field(default_factory=dict)
    demonstrate: Callable[[np.random.Generator], tuple[str, ...]] | Sequence[tuple[str, ...]] | None = None
    max_prompt: int = MAX_PROMPT

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            UsageError: no response fits them.
        """
        given = {name: getattr(self, name) for name in KINDS}
        unfit = [name for name, (kind, _) in KINDS.items() if not isinstance(given[name], kind)]
        if unfit:
            raise UsageError(f"{unfit[0]} = {given[unfit[0]]!r:.60} cannot be used; give {KINDS[unfit[0]][1]}")
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens = {self.max_tokens} leaves nothing to write; choose at least 1")
        taken = sorted({"reward", "ended"} & set(self.metrics))
        if taken:
            raise UsageError(f"a metric called {taken[0]!r} is there already; give yours another name")
        if not 0 <= self.min_tokens < self.max_tokens:
            raise UsageError(f"min_tokens = {self.min_tokens} is out of range; choose 0 to {self.max_tokens - 1}")

    def draw(self, rng: np.random.Generator) -> tuple[list[int], Any]:
        """Return the tokens of a prompt, and its info.

        Raises:
            UsageError: the prompt is too long, or not of the vocabulary.
        """
        drawn = call("prompt", self.prompt, rng)
        text, info = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, None)
        if not isinstance(text, str):
            raise UsageError(f"the task's prompt function gave {drawn!r:.80}; return a text, or a text and an info")
        tokens = self.vocabulary.encode(text)
        if len(tokens) > self.max_prompt:
            raise UsageError(
                f"the prompt {text[:60]!r} has {len(tokens)} tokens, more than max_prompt = {self.max_prompt}"
            )
        return tokens, info

    def score(self, completions: list[Completion], name: str = "reward") -> np.ndarray:
        """Return the rewards (B,) of completions, or the metric of this name.

        Raises:
            UsageError: the function raised, or gave something else than one finite number each.
        """
        function = self.reward if name == "reward" else self.metrics[name]
        if function is None:
            return np.zeros(len(completions))
        try:
            given = function(completions)
        except Exception as error:
            culprit = next((c for c in completions if _raises(function, c)), completions[0])
            raise UsageError(f"the {name} of {_shown(culprit)} raised {_told(error)}") from error
        try:
            scores = np.asarray(given, np.float64)
        except Exception:  # whatever an object of another library does when it is turned into an array
            scores = np.empty(0)
        if scores.shape != (len(completions),):
            what = f"{len(scores)} numbers" if scores.ndim == 1 and len(scores) else f"{given!r:.80}"
            raise UsageError(
                f"the {name} of {len(completions)} completions is {what}; return one number for each of them"
            )
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise UsageError(f"the {name} of {_shown(completions[bad[0]])} is {scores[bad[0]]}; return a finite number")
        return scores


def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function of a task gives.

    Raises:
        UsageError: it raised.
    """
    try:
        return function(*arguments)
    except Exception as error:
        raise UsageError(f"the task's {name} function raised {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _shown(completion: Completion) -> str:
    return f"{completion.prompt!r} → {completion.response!r}"


def _raises(function: Score, completion: Completion) -> bool:
    try:
        function([completion])
    except Exception:
        return True
    return False
