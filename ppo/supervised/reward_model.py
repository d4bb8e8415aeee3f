"""Reward models: a policy learns from people's ratings or preferences to tell which of two texts they like better.

P(a is preferred to b) = σ(s(a) − s(b)) (Bradley and Terry 1952; Ziegler et al. 2019), where the score s is the policy's
value after the text. What is saved is a run like any other; `text/Write-v0` takes it as its reward.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor
from torch.nn import functional as F

from ppo.errors import UsageError
from ppo.loop.trainer import Trainer
from ppo.policies import Policy
from ppo.run.files import write_atomically
from ppo.run.logger import Progress
from ppo.supervised.fit import Goal, check, fit
from ppo.supervised.quality import Quality, quality
from ppo.text import Vocabulary
from ppo.text.corpus import split
from ppo.text.ratings import Ratings, read
from ppo.text.reward_model import score
from ppo.text.vocabulary import vocabulary_in

RATERS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}


@dataclass(frozen=True)
class RewardModelResult:
    """What training a reward model came to."""

    run_dir: Path
    quality: Quality
    tokens: int
    finished: bool  # False where a signal stopped it: text/Write-v0 does not take it


class Comparisons:
    """How probably each text is preferred to each other.

    Args:
        given: what people said of the texts.
        raters: whose ratings count: all, those at even or those at odd places.

    Raises:
        UsageError: a text has no such rating.
    """

    def __init__(self, given: Ratings, raters: str) -> None:
        self.ratings = [np.array(each[RATERS[raters]]) for each in given.ratings]
        if not all(map(len, self.ratings)):
            raise UsageError(f"raters = {raters!r} leaves a text without a rating; choose all")
        levels = np.unique(np.concatenate([*self.ratings, [0.0]]))
        # Shares (M, K) of a text's ratings on each level: P(a > b) + P(a = b) / 2 is then a product.
        self.shares = np.array([[(each == level).mean() for level in levels] for each in self.ratings])
        self.above = (1 + np.sign(levels[:, None] - levels)) / 2  # (K, K)

    def __call__(self, index: np.ndarray) -> Tensor:
        """Return P(a is preferred to b), (B, B), of texts; NaN where nobody has said."""
        found = np.full((len(index), len(index)), np.nan)
        if self.ratings:
            found = np.where(np.eye(len(index)), np.nan, self.shares[index] @ self.above @ self.shares[index].T)
        else:  # pairs, the preferred one first
            first = np.arange(0, len(index), 2)
            found[first, first + 1] = 1
        return torch.from_numpy(found).float()


def train_reward_model(
    trainer: Trainer, source: str, raters: str = "all", patience: int = 5,
    report: Callable[[Progress], None] | None = None,
) -> RewardModelResult:  # fmt: skip
    """Train a trainer's policy to score texts as people rated them, and write its run folder.

    Args:
        trainer: new; its settings say how: num_envs texts a minibatch, learning_rate, total_timesteps in tokens.
        source: rated texts or preferences; a tenth is held out. See `ppo.text.ratings`.
        raters: whose ratings count, all, even or odd; the figures are of everybody's.
        patience: evaluations without a smaller loss on what is held out after which it stops, and the best is kept; 0: it
            goes on to the end, and the last is kept.
        report: called after each minibatch.

    Raises:
        UsageError: there is nothing to learn from, or the environment is no text.
    """
    check(trainer, patience)
    vocabulary, given, training, held_out = _sources(trainer, source)
    prefer, texts = Comparisons(given, raters), [vocabulary.encode(text) for text in given.texts]
    policy, learner, space = trainer.policy, trainer.learner, trainer.envs.single_observation_space
    batches = _batches(training, trainer.config.num_envs, np.random.default_rng(trainer.config.seed))
    scores = partial(_scores, policy, texts, vocabulary.end, space)

    def step(rate: float) -> tuple[float, int]:
        index = next(batches)
        chosen = [texts[n] for n in index]
        value = score(learner.policy.forward, policy.initial_state(len(index)), chosen, vocabulary.end, space)
        return learner.descend(bradley_terry(value, prefer(index).to(value)), rate), sum(map(len, chosen))

    def test() -> float:
        return float(bradley_terry(scores(held_out), prefer(held_out)))

    run_dir, _, finished = fit(trainer, Goal("reward", "reward/loss", "eval/loss", patience), step, test, report)
    found = quality(scores(held_out).numpy(), given, held_out, np.array([len(texts[n]) for n in held_out]))
    known = json.loads(json.dumps(asdict(found)), parse_constant=lambda nan: None)  # JSON has no NaN
    write_atomically(run_dir / "quality.json", json.dumps(known, indent=2).encode())
    return RewardModelResult(run_dir, found, trainer.global_step, finished)


def bradley_terry(scores: Tensor, preferred: Tensor) -> Tensor:
    """Return the mean of −P log σ(s(a) − s(b)) − (1 − P) log σ(s(b) − s(a)) over pairs of texts.

    Args:
        scores: (B,).
        preferred: P(a is preferred to b), (B, B); a NaN counts for nothing.
    """
    logits, known = scores[:, None] - scores, ~preferred.isnan()
    return F.binary_cross_entropy_with_logits(logits[known], preferred[known])


def _sources(trainer: Trainer, source: str) -> tuple[Vocabulary, Ratings, list[np.ndarray], np.ndarray]:
    """Return the vocabulary, what was said, and texts to learn from and held out, by number; those of a pair together."""
    vocabulary = vocabulary_in(trainer.envs, trainer.config.env_id)
    given = read(source)
    if not given.ratings and not given.pairs:
        raise UsageError(f'{source} has texts without ratings; give lines {{"text": …, "ratings": […]}}')
    items = [np.array([n]) for n in range(len(given.texts))] if given.ratings else [np.array(p) for p in given.pairs]
    training, held_out = split(items, source)
    return vocabulary, given, training, np.concatenate(held_out)


def _batches(items: list[np.ndarray], places: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield numbers of texts, about as many as there are places, all once in random order and again."""
    size = max(2 // len(items[0]), places // len(items[0]))
    while True:
        order = rng.permutation(len(items))
        for begin in range(0, max(len(order) - size + 1, 1), size):
            yield np.concatenate([items[n] for n in order[begin : begin + size]])


@torch.no_grad()
def _scores(policy: Policy, texts: list[list[int]], end: int, space: Space[Any], index: np.ndarray) -> Tensor:
    """Return the scores of texts by number, on the CPU."""
    parts = np.array_split(index, math.ceil(len(index) / 256))
    found = [score(policy, policy.initial_state(len(part)), [texts[n] for n in part], end, space) for part in parts]
    return torch.cat(found).cpu()
