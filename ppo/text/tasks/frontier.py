"""The frontier: a task so small that the best policy near a reference is known exactly.

Of all policies, π*(y) ∝ π_ref(y) exp(r(y) / β) has the largest E[r] − β KL(π ‖ π_ref) (Ziegler et al. 2019, equation 2).
Here every sequence can be written down, so that the distance from π* can be computed and need not be estimated.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo.text.task import Completion, Task
from ppo.text.vocabulary import Vocabulary

LETTERS = "abcd"
LONGEST = 4  # letters; the end token is a fifth token


def frontier() -> Task:
    """Write up to four letters of a, b, c, d; what they are worth has no pattern that a reference would know."""
    worth = rewards()
    vocabulary = Vocabulary(LETTERS)

    def demonstrate(rng: np.random.Generator) -> tuple[str, str]:
        # A chain in which a letter is mostly followed by the next one.
        text = ""
        while len(text) < LONGEST and rng.random() > 0.2:
            chances = np.roll([0.1, 0.6, 0.2, 0.1], LETTERS.index(text[-1])) if text else np.full(4, 0.25)
            text += LETTERS[int(rng.choice(4, p=chances))]
        return "", text

    def reward(completions: list[Completion]) -> list[float]:
        return [worth[c.response_ids, c.ended] for c in completions]

    return Task(vocabulary, reward, LONGEST + 1, demonstrate=demonstrate)


def sequences() -> list[tuple[tuple[int, ...], bool]]:
    """Return every sequence that can be written: its letters, and whether an end token follows."""
    found = [(letters, True) for n in range(LONGEST + 1) for letters in itertools.product(range(4), repeat=n)]
    return found + [(letters, False) for letters in itertools.product(range(4), repeat=LONGEST + 1)]


def rewards() -> dict[tuple[tuple[int, ...], bool], float]:
    """Return what each sequence is worth: a normal number, and nothing without an end."""
    rng = np.random.default_rng(0)
    return {(letters, ended): float(rng.normal()) if ended else 0.0 for letters, ended in sequences()}


@torch.no_grad()
def log_probs(policy: Callable[..., Any], initial_state: Callable[[int], Tensor]) -> Tensor:
    """Return log π(y) of every sequence of `sequences`, (M,).

    Args:
        policy: (obs, state, starts) -> dist, values, state.
        initial_state: returns the state (N, H) with which sequences begin.
    """
    end, every = len(LETTERS), sequences()
    tokens = torch.full((LONGEST + 2, len(every)), end)  # the end token, the letters, the end token again
    for n, (letters, _) in enumerate(every):
        tokens[1 : 1 + len(letters), n] = torch.tensor(letters, dtype=torch.int64)
    starts = torch.zeros(LONGEST + 1, len(every), dtype=torch.bool)
    starts[0] = True
    dist = policy(tokens[:-1], initial_state(len(every)), starts)[0]
    found = dist.log_prob(tokens[1:])  # (T, M)
    lengths = torch.tensor([len(letters) + ended for letters, ended in every])
    return torch.where(torch.arange(LONGEST + 1)[:, None] < lengths, found, 0.0).sum(0)


def optimum(reference: Tensor, beta: float) -> Tensor:
    """Return log π*(y) of every sequence, (M,), from log π_ref(y), (M,)."""
    worth = torch.tensor(list(rewards().values()), dtype=reference.dtype)
    return (reference + worth / beta).log_softmax(0)


def reward_and_kl(policy: Tensor, reference: Tensor) -> tuple[float, float]:
    """Return E[r] and KL(π ‖ π_ref) in nats, from log π(y) and log π_ref(y), (M,) each."""
    worth, probs = torch.tensor(list(rewards().values()), dtype=policy.dtype), policy.exp()
    return float(probs @ worth), float(probs @ (policy - reference))
