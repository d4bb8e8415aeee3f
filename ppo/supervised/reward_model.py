"""Reward models: a policy learns from human ratings or preferences which of two texts people prefer.

P(a is preferred to b) = σ(s(a) − s(b)) (Bradley and Terry 1952; Ziegler et al. 2019), where the score s is the policy's
value after the text. The result is an ordinary run; `text/Write-v0` accepts it as its reward.
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
from ppo.supervised.fit import check_trainer, fit
from ppo.supervised.quality import Quality, quality
from ppo.text.corpus import split
from ppo.text.ratings import Ratings, read
from ppo.text.reward_model import score

RATERS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}


@dataclass(frozen=True)
class RewardModelResult:
    """The result of training a reward model."""

    run_dir: Path
    quality: Quality
    tokens: int
    finished: bool  # False: stopped by a signal, so that text/Write-v0 does not accept it


class Comparisons:
    """The probability that each text is preferred to each other text.

    Args:
        ratings: the texts and their ratings or preferences.
        raters: which raters count: all, or those at even or odd positions in each text's list.

    Raises:
        UsageError: a text has no rating by these raters.
    """

    def __init__(self, ratings: Ratings, raters: str) -> None:
        by_text = [np.array(numbers[RATERS[raters]]) for numbers in ratings.ratings]
        if not all(map(len, by_text)):
            raise UsageError(f"raters = {raters!r} leaves a text without a rating; choose all")
        levels = np.unique(np.concatenate([*by_text, [0.0]]))
        # Shares (M, K) of a text's ratings on each level: P(a > b) + P(a = b) / 2 is then a product.
        self.shares = np.array([[(numbers == level).mean() for level in levels] for numbers in by_text])
        self.above = (1 + np.sign(levels[:, None] - levels)) / 2  # (K, K)
        self.rated = bool(by_text)

    def __call__(self, indices: np.ndarray) -> Tensor:
        """Return P(a is preferred to b), (B, B), of texts; NaN if they were not compared."""
        probs = np.full((len(indices), len(indices)), np.nan)
        if self.rated:
            shares = self.shares[indices]
            probs = np.where(np.eye(len(indices)), np.nan, shares @ self.above @ shares.T)
        else:  # consecutive pairs, the preferred text first
            first = np.arange(0, len(indices), 2)
            probs[first, first + 1] = 1
        return torch.from_numpy(probs).float()


def train_reward_model(
    trainer: Trainer, source: str, raters: str = "all", patience: int = 5,
    report: Callable[[Progress], None] | None = None
) -> RewardModelResult:  # fmt: skip
    """Train a trainer's policy to score texts as people rate them, and write its run folder.

    Args:
        trainer: new; its settings are used: num_envs texts per minibatch, learning_rate, total_timesteps in tokens.
        source: rated texts or preferences, of which a tenth is held out; see `ppo.text.ratings`.
        raters: which raters to train on: all, or those at even or odd positions in each text's list. The reported figures
            always use all raters.
        patience: stop after this many evaluations without a lower held-out loss and keep the best policy; 0: train to the
            end and keep the last.
        report: called after each minibatch.

    Raises:
        UsageError: there are no ratings, or the environment is not text.
    """
    vocabulary = check_trainer(trainer, patience).vocabulary
    ratings, training, held_out = _read(source)
    comparisons, texts = Comparisons(ratings, raters), [vocabulary.encode(text) for text in ratings.texts]
    policy, learner, space = trainer.policy, trainer.learner, trainer.envs.single_observation_space
    batches = _batches(training, trainer.config.num_envs, np.random.default_rng(trainer.config.seed))
    scores = partial(_scores, policy, texts, vocabulary.end, space)

    def train_step(learning_rate: float) -> tuple[float, int]:
        indices = next(batches)
        batch = [texts[n] for n in indices]
        values = score(learner.policy.forward, policy.initial_state(len(batch)), batch, vocabulary.end, space)
        loss = learner.descend(bradley_terry(values, comparisons(indices).to(values)), learning_rate)
        return loss, sum(map(len, batch))

    def evaluate() -> float:
        return float(bradley_terry(scores(held_out), comparisons(held_out)))

    result = fit(trainer, "reward", "eval/loss", patience, train_step, evaluate, report)
    figures = quality(scores(held_out).numpy(), ratings, held_out, np.array([len(texts[n]) for n in held_out]))
    values = json.loads(json.dumps(asdict(figures)), parse_constant=lambda nan: None)  # JSON has no NaN
    write_atomically(result.run_dir / "quality.json", json.dumps(values, indent=2).encode())
    return RewardModelResult(result.run_dir, figures, trainer.global_step, result.finished)


def bradley_terry(scores: Tensor, preferred: Tensor) -> Tensor:
    """Return the mean of −P log σ(s(a) − s(b)) − (1 − P) log σ(s(b) − s(a)) over pairs of texts.

    Args:
        scores: s, (B,).
        preferred: P = P(a is preferred to b), (B, B); pairs with NaN are left out.
    """
    logits, known = scores[:, None] - scores, ~preferred.isnan()
    return F.binary_cross_entropy_with_logits(logits[known], preferred[known])


def _read(source: str) -> tuple[Ratings, list[np.ndarray], np.ndarray]:
    """Return the ratings, and the indices of texts for training, the two texts of a pair together, and held out."""
    ratings = read(source)
    if not ratings.ratings and not ratings.pairs:
        raise UsageError(f'{source} has texts without ratings; give lines {{"text": …, "ratings": […]}}')
    groups = [(n,) for n in range(len(ratings.texts))] if ratings.ratings else ratings.pairs
    training, held_out = split([np.array(group) for group in groups], source)
    return ratings, training, np.concatenate(held_out)


def _batches(groups: list[np.ndarray], num_texts: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield indices of about `num_texts` texts, endlessly, each epoch in a new random order."""
    size = max(2 // len(groups[0]), num_texts // len(groups[0]))
    while True:
        order = rng.permutation(len(groups))
        for begin in range(0, max(len(order) - size + 1, 1), size):
            yield np.concatenate([groups[n] for n in order[begin : begin + size]])


@torch.no_grad()
def _scores(policy: Policy, texts: list[list[int]], end: int, space: Space[Any], indices: np.ndarray) -> Tensor:
    """Return the scores of the texts with these indices, on the CPU."""
    chunks = [[texts[n] for n in chunk] for chunk in np.array_split(indices, math.ceil(len(indices) / 256))]
    return torch.cat([score(policy, policy.initial_state(len(chunk)), chunk, end, space) for chunk in chunks]).cpu()
