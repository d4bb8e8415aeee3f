"""The completion: a prompt, and the response to it, finished or not."""

from dataclasses import dataclass
from typing import Any

from ppo.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Completion:
    """A prompt and the response to it, finished or not.

    Attributes:
        vocabulary: the tokens.
        prompt_ids: tokens of the prompt.
        response_ids: tokens after it, without the end token of the last turn.
        ended: whether the last token was an end token.
        info: what the task drew together with the prompt.
        turn_ids: the response split into turns of the policy and replies of the environment, alternately.
    """

    vocabulary: Vocabulary
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    ended: bool
    info: Any = None
    turn_ids: tuple[tuple[int, ...], ...] = ()

    def __str__(self) -> str:
        """Return prompt and response in one line; … marks a response without an end token."""
        return f"{self.prompt} → {' / '.join(self.turns)}{'' if self.ended else ' …'}"

    @property
    def prompt(self) -> str:
        """The prompt as text."""
        return self.vocabulary.decode(self.prompt_ids)

    @property
    def response(self) -> str:
        """The response as text."""
        return self.vocabulary.decode(self.response_ids)

    @property
    def turns(self) -> tuple[str, ...]:
        """The policy's turns and the environment's replies, alternately, as texts."""
        return tuple(self.vocabulary.decode(turn) for turn in self.turn_ids or (self.response_ids,))
