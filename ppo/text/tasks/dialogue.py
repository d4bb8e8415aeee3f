"""Dialogue: a user of a shop's service has a wish and tells it bit by bit; the policy asks, and then does it.

The policy writes a turn up to its end token, the user answers with tokens of their own. `ask SLOT` asks for one of three
slots, `do WISH ITEM PROBLEM` ends the dialogue, well where it is what the user has in mind by then. A user may not
understand, and may correct what was said before; one who is asked for what they told just now leaves.
"""

from dataclasses import dataclass

import numpy as np

from ppo.text.task import Completion, Task
from ppo.text.vocabulary import Vocabulary

SLOTS = {
    "wish": ("refund", "repair", "exchange"), "item": ("phone", "laptop", "camera", "router"),
    "problem": ("broken", "late", "wrong"),
}  # fmt: skip
ANSWERS = {"wish": "i want a {}", "item": "my {}", "problem": "it is {}"}
USER = ("hello", "i", "want", "a", "my", "it", "is", "sorry", "no")  # words that only the user says
TURNS = 10
UNHEARD, CORRECTED = 0.15, 0.15  # of the policy's questions
SUCCESS, COST, INVALID = 1.0, 0.02, 0.1  # rewards of the whole, a turn, and a turn that says nothing


@dataclass(frozen=True)
class User:
    """What a user has in mind, and what will happen in each turn; drawn with the prompt."""

    wish: dict[str, str]  # by slot
    greeting: tuple[str, ...]  # slots that are told at once
    unheard: tuple[bool, ...]  # by turn: the question is not understood
    corrections: tuple[tuple[str, str] | None, ...]  # by turn: a slot that gets another value, said with the answer


@dataclass
class Talk:
    """A dialogue so far, as the user sees it."""

    wish: dict[str, str]
    reply: str | None = ""  # to the last turn; None: it is over
    told: str = ""  # the slot that was told last
    done: bool = False  # the last turn did what the user wants
    invalid: int = 0


def dialogue() -> Task:
    """Find out what a user wants in at most ten turns, and do it."""
    words = [*SLOTS, "ask", "do", *(value for values in SLOTS.values() for value in values)]

    def prompt(rng: np.random.Generator) -> tuple[str, User]:
        user = draw(rng)
        return greeting(user), user

    def talks(completions: list[Completion]) -> list[Talk]:
        # The last turn was said only where it was ended.
        return [follow(c.info, c.said[::2] if c.ended else c.said[:-1:2]) for c in completions]

    def reward(completions: list[Completion]) -> list[float]:
        return [
            SUCCESS * talk.done - COST * len(c.said[::2]) - INVALID * talk.invalid
            for c, talk in zip(completions, talks(completions), strict=True)
        ]

    return Task(
        Vocabulary(sorted(words), " ", USER), reward, max_tokens=5 * TURNS, prompt=prompt, demonstrate=expert,
        reply=lambda cs: [talk.reply for talk in talks(cs)],
        metrics={
            "solved": lambda cs: [talk.done for talk in talks(cs)],
            "turns": lambda cs: [len(c.said[::2]) for c in cs],
            "invalid": lambda cs: [talk.invalid for talk in talks(cs)],
        },
    )  # fmt: skip


def draw(rng: np.random.Generator) -> User:
    """Return a user."""
    wish = {slot: str(rng.choice(values)) for slot, values in SLOTS.items()}
    greeting = tuple(slot for slot in SLOTS if rng.random() < 0.25)
    corrections: list[tuple[str, str] | None] = []
    for _ in range(TURNS):
        slot = str(rng.choice(list(SLOTS)))
        corrections.append((slot, str(rng.choice(SLOTS[slot]))) if rng.random() < CORRECTED else None)
    return User(wish, greeting, tuple((rng.random(TURNS) < UNHEARD).tolist()), tuple(corrections))


def greeting(user: User) -> str:
    """Return what a user says at first."""
    return " ".join(["hello", *(ANSWERS[slot].format(user.wish[slot]) for slot in user.greeting)])


def follow(user: User, turns: tuple[str, ...]) -> Talk:
    """Return how a user takes the turns of the policy, from the first to the last."""
    talk = Talk(dict(user.wish))
    for n, turn in enumerate(turns):
        verb, *words = turn.split() or [""]
        if verb == "do" and _says(words):
            talk.done = words == [talk.wish[slot] for slot in SLOTS]
            talk.reply = None
            break
        asked = words[0] if verb == "ask" and len(words) == 1 and words[0] in SLOTS else ""
        talk.invalid += not asked
        if not asked or user.unheard[n]:
            talk.reply, talk.told = "sorry", ""
        elif asked == talk.told:
            talk.reply = None  # the user leaves
            break
        else:
            talk.reply, talk.told = _answer(talk, asked, user.corrections[n]), asked
        if n + 1 == TURNS:
            talk.reply = None
    return talk


def _says(words: list[str]) -> bool:
    return len(words) == len(SLOTS) and all(word in values for word, values in zip(words, SLOTS.values(), strict=True))


def _answer(talk: Talk, asked: str, correction: tuple[str, str] | None) -> str:
    answer = ANSWERS[asked].format(talk.wish[asked])
    if correction is None or correction[0] == asked:
        return answer
    slot, value = correction
    talk.wish[slot] = value
    return f"{answer} no {ANSWERS[slot].format(value)}"


def expert(rng: np.random.Generator) -> tuple[str, ...]:
    """Return a dialogue with a user as an expert has it: the prompt, then turns and replies alternately.

    It asks for what it was not told, in order, again where it was not understood, and then does what it heard.
    """
    user = draw(rng)
    heard = {slot: user.wish[slot] for slot in user.greeting}
    parts, turns = [greeting(user)], []
    while True:
        missing = [slot for slot in SLOTS if slot not in heard]
        turns.append(f"ask {missing[0]}" if missing else " ".join(["do", *(heard[slot] for slot in SLOTS)]))
        talk = follow(user, tuple(turns))
        parts.append(turns[-1])
        if talk.reply is None:
            return tuple(parts)
        parts.append(talk.reply)
        for word in talk.reply.split():
            heard |= {slot: word for slot, values in SLOTS.items() if word in values}
