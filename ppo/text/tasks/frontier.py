"""The frontier: a task small enough to compute the best policy near a reference exactly.

Of all policies, π*(y) ∝ π_ref(y) exp(r(y) / β) maximises E[r] − β KL(π ‖ π_ref) (Ziegler et al. 2019, equation 2). There are
few enough sequences here to compute a policy's distance from π* instead of estimating it.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo.text.completion import Completion
from ppo.text.task import Task
from ppo.text.vocabulary import Vocabulary

LETTERS = "abcd"
LONGEST = 4  # letters; an end token may follow


def frontier() -> Task:
    """Write up to four letters of a, b, c, d; each sequence has a random reward, so that a reference cannot know it."""
    reward_of = rewards()
    vocabulary = Vocabulary(LETTERS)

    def demonstrate(rng: np.random.Generator) -> tuple[str, str]:
        # A Markov chain in which a letter is mostly followed by the next one.
        text = ""
        while len(text) < LONGEST and rng.random() > 0.2:
            probs = np.roll([0.1, 0.6, 0.2, 0.1], LETTERS.index(text[-1])) if text else np.full(4, 0.25)
            text += LETTERS[int(rng.choice(4, p=probs))]
        return "", text

    def reward(completions: list[Completion]) -> list[float]:
        return [reward_of[c.response_ids, c.ended] for c in completions]

    return Task(vocabulary, reward, LONGEST + 1, demonstrate=demonstrate)


def sequences() -> list[tuple[tuple[int, ...], bool]]:
    """Return all M sequences: token ids of the letters, and whether an end token follows."""
    ended = [(letters, True) for n in range(LONGEST + 1) for letters in itertools.product(range(4), repeat=n)]
    return ended + [(letters, False) for letters in itertools.product(range(4), repeat=LONGEST + 1)]


def rewards() -> dict[tuple[tuple[int, ...], bool], float]:
    """Return the reward of each sequence: a standard normal number; 0 without an end token."""
    rng = np.random.default_rng(0)
    return {(letters, ended): float(rng.normal()) if ended else 0.0 for letters, ended in sequences()}


@torch.no_grad()
def log_probs(policy: Callable[..., Any], initial_state: Callable[[int], Tensor]) -> Tensor:
    """Return log π(y) of all `sequences`, (M,).

    Args:
        policy: (obs, state, starts) -> dist, values, state.
        initial_state: returns the initial state (N, H) for N sequences.
    """
    end, table = len(LETTERS), sequences()
    tokens = torch.full((LONGEST + 2, len(table)), end)  # the end token, the letters, the end token again
    for n, (letters, _) in enumerate(table):
        tokens[1 : 1 + len(letters), n] = torch.tensor(letters, dtype=torch.int64)
    starts = torch.zeros(LONGEST + 1, len(table), dtype=torch.bool)
    starts[0] = True
    dist = policy(tokens[:-1], initial_state(len(table)), starts)[0]
    per_token = dist.log_prob(tokens[1:])  # (T, M)
    lengths = torch.tensor([len(letters) + ended for letters, ended in table])
    return torch.where(torch.arange(LONGEST + 1)[:, None] < lengths, per_token, 0.0).sum(0)


def optimum(reference: Tensor, beta: float) -> Tensor:
    """Return log π*(y), (M,), from log π_ref(y), (M,)."""
    reward = torch.tensor(list(rewards().values()), dtype=reference.dtype)
    return (reference + reward / beta).log_softmax(0)


def reward_and_kl(policy: Tensor, reference: Tensor) -> tuple[float, float]:
    """Return E[r] and KL(π ‖ π_ref) in nats, from log π(y) and log π_ref(y), (M,) each."""
    reward, probs = torch.tensor(list(rewards().values()), dtype=policy.dtype), policy.exp()
    return float(probs @ reward), float(probs @ (policy - reference))
