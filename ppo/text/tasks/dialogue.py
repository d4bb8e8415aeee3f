"""Dialogue: a customer has a request, and the policy asks for its parts and then carries it out.

The policy writes a turn up to its end token, and the user replies. `ask SLOT` asks for one of three slots. `do WISH ITEM
PROBLEM` ends the dialogue: with success if these are the values that the user has in mind by then. A user may misunderstand
a question or correct an earlier answer. A user who is asked again for the slot of their last answer leaves.
"""

from dataclasses import dataclass

import numpy as np

from ppo.text.completion import Completion
from ppo.text.task import Task
from ppo.text.vocabulary import Vocabulary

SLOTS = {
    "wish": ("refund", "repair", "exchange"), "item": ("phone", "laptop", "camera", "router"),
    "problem": ("broken", "late", "wrong"),
}  # fmt: skip
ANSWERS = {"wish": "i want a {}", "item": "my {}", "problem": "it is {}"}
USER = ("hello", "i", "want", "a", "my", "it", "is", "sorry", "no")  # words of the user only
TURNS = 10  # most turns of the policy
MISUNDERSTANDING, CORRECTION = 0.15, 0.15  # probability in each turn
SUCCESS, COST, INVALID = 1.0, 0.02, 0.1  # reward of success; cost of a turn, and of a turn that is not a valid command


@dataclass(frozen=True)
class User:
    """A user's request, and how the user will react in each turn; drawn with the prompt."""

    request: dict[str, str]  # value of each slot
    greeting: tuple[str, ...]  # slots that the greeting mentions
    misunderstandings: tuple[bool, ...]  # by turn: the user does not understand the question
    corrections: tuple[tuple[str, str] | None, ...]  # by turn: a slot and its new value, mentioned with the answer


@dataclass
class Dialogue:
    """The state of a dialogue after the policy's last turn."""

    request: dict[str, str]  # value of each slot, after corrections
    reply: str | None = ""  # to the last turn; None: the dialogue is over
    last_slot: str = ""  # that the user's last reply answered
    solved: bool = False  # the last turn did what the user wants
    invalid: int = 0  # turns that were not valid commands


def dialogue() -> Task:
    """Find out what a user wants, and do it, in at most ten turns."""
    words = [*SLOTS, "ask", "do", *(value for values in SLOTS.values() for value in values)]

    def prompt(rng: np.random.Generator) -> tuple[str, User]:
        user = draw_user(rng)
        return greeting(user), user

    def dialogues(completions: list[Completion]) -> list[Dialogue]:
        # A turn without an end token was cut by max_tokens and does not count.
        return [simulate(c.info, c.turns[::2] if c.ended else c.turns[:-1:2]) for c in completions]

    def reward(completions: list[Completion]) -> list[float]:
        return [
            SUCCESS * state.solved - COST * len(c.turns[::2]) - INVALID * state.invalid
            for c, state in zip(completions, dialogues(completions), strict=True)
        ]

    return Task(
        Vocabulary(sorted(words), " ", USER), reward, max_tokens=5 * TURNS, prompt=prompt, demonstrate=expert,
        reply=lambda cs: [state.reply for state in dialogues(cs)],
        metrics={
            "solved": lambda cs: [state.solved for state in dialogues(cs)],
            "turns": lambda cs: [len(c.turns[::2]) for c in cs],
            "invalid": lambda cs: [state.invalid for state in dialogues(cs)],
        },
    )  # fmt: skip


def draw_user(rng: np.random.Generator) -> User:
    """Draw a random user."""
    request = {slot: str(rng.choice(values)) for slot, values in SLOTS.items()}
    greeting = tuple(slot for slot in SLOTS if rng.random() < 0.25)
    corrections: list[tuple[str, str] | None] = []
    for _ in range(TURNS):
        slot = str(rng.choice(list(SLOTS)))
        corrections.append((slot, str(rng.choice(SLOTS[slot]))) if rng.random() < CORRECTION else None)
    misunderstandings = tuple((rng.random(TURNS) < MISUNDERSTANDING).tolist())
    return User(request, greeting, misunderstandings, tuple(corrections))


def greeting(user: User) -> str:
    """Return a user's first sentence, the prompt."""
    return " ".join(["hello", *(ANSWERS[slot].format(user.request[slot]) for slot in user.greeting)])


def simulate(user: User, turns: tuple[str, ...]) -> Dialogue:
    """Return the state of the dialogue after these turns of the policy."""
    state = Dialogue(dict(user.request))
    for n, turn in enumerate(turns):
        verb, *words = turn.split() or [""]
        if verb == "do" and _are_values(words):
            state.solved = words == [state.request[slot] for slot in SLOTS]
            state.reply = None
            break
        slot = words[0] if verb == "ask" and len(words) == 1 and words[0] in SLOTS else ""
        state.invalid += not slot
        if not slot or user.misunderstandings[n]:
            state.reply, state.last_slot = "sorry", ""
        elif slot == state.last_slot:
            state.reply = None  # the user leaves
            break
        else:
            state.reply, state.last_slot = _answer(state, slot, user.corrections[n]), slot
        if n + 1 == TURNS:
            state.reply = None
    return state


def _are_values(words: list[str]) -> bool:
    return len(words) == len(SLOTS) and all(word in values for word, values in zip(words, SLOTS.values(), strict=True))


def _answer(state: Dialogue, slot: str, correction: tuple[str, str] | None) -> str:
    answer = ANSWERS[slot].format(state.request[slot])
    if correction is None or correction[0] == slot:
        return answer
    corrected, value = correction
    state.request[corrected] = value
    return f"{answer} no {ANSWERS[corrected].format(value)}"


def expert(rng: np.random.Generator) -> tuple[str, ...]:
    """Draw a user and return an expert's dialogue with them: the prompt, then turns and replies alternately.

    The expert asks for the missing slots in order, repeats a question that was not understood, and then acts on the answers.
    """
    user = draw_user(rng)
    values = {slot: user.request[slot] for slot in user.greeting}
    sequence, turns = [greeting(user)], []
    while True:
        missing = [slot for slot in SLOTS if slot not in values]
        turns.append(f"ask {missing[0]}" if missing else " ".join(["do", *(values[slot] for slot in SLOTS)]))
        reply = simulate(user, tuple(turns)).reply
        sequence.append(turns[-1])
        if reply is None:
            return tuple(sequence)
        sequence.append(reply)
        for word in reply.split():
            values |= {slot: word for slot, words in SLOTS.items() if word in words}
