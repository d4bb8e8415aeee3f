"""A text task of your own: write a sum of digits whose value is the number in the prompt.

    python examples/own_text_task.py                        # from Python, as below
    cd examples && ppo train own_text_task:Sums-v0          # the same on the command line
    ppo sample runs/Sums-v0__ppo__s1 --prompt 12            # after it, in the same folder

A task is a vocabulary, a function that draws prompts, and a reward of a batch of completions; here also a mask, so that
digits and signs alternate. Each token is one step of an ordinary environment. At first 1 text in 20 has the right value, after
training more than 9 in 10.
"""

import re

import numpy as np

from ppo import Trainer, evaluate, preset
from ppo.sampling import sample
from ppo.text import Completion, Task, Vocabulary, register

DIGITS, SIGNS = "0123456789", "+-"


def value(text: str) -> int | None:
    """Return the value of a sum such as 3+4-1; None if the text ends with a sign."""
    return sum(int(term) for term in re.findall(r"[+-]?\d", text)) if text[-1] in DIGITS else None


def solved(completions: list[Completion]) -> list[float]:
    """Return 1 for each sum that has the value in its prompt, else 0."""
    return [float(value(c.response) == int(c.prompt)) for c in completions]


def reward(completions: list[Completion]) -> list[float]:
    """Return 1 for the right value, less the further the value is from it, and 0 for what is not a sum."""
    values = [value(c.response) for c in completions]
    return [0.0 if v is None else 1 / (1 + abs(v - int(c.prompt))) for v, c in zip(values, completions, strict=True)]


def grammar(completions: list[Completion]) -> np.ndarray:
    """Return the tokens that may follow, (B, V): after a digit a sign or the end, which is the last token; else a digit."""
    needs_digit = np.array([c.response[-1:] not in tuple(DIGITS) for c in completions])  # (B,)
    is_digit = np.array([symbol in DIGITS for symbol in DIGITS + SIGNS] + [False])
    return np.where(needs_digit[:, None], is_digit, ~is_digit)


def sums(largest: int = 18) -> Task:
    """Return the task; its arguments are those of the environment (`--env-kwargs largest 9`)."""

    def prompt(rng: np.random.Generator) -> str:
        return str(rng.integers(largest + 1))

    return Task(
        Vocabulary(DIGITS + SIGNS),
        reward,
        max_tokens=6,
        min_tokens=3,
        prompt=prompt,
        mask=grammar,
        metrics={"solved": solved},
    )


register("Sums-v0", sums)


def main(total_timesteps: int = 100_000) -> float:
    """Train, print samples, and return the share of prompts that the policy solves."""
    config = preset("own_text_task:Sums-v0")
    settings = {"total_timesteps": total_timesteps, "num_envs": 128, "num_steps": 16, "learning_rate": 2e-3}
    run = Trainer(config.replace(settings)).train()
    for completion, score in sample(run, number=8):
        print(f"{score:5.2f}  {completion}")
    share = evaluate(run, episodes=200, deterministic=False).metric("solved")
    print(f"{run}: solves {share:.0%} of 200 prompts")
    return share


if __name__ == "__main__":
    main()
