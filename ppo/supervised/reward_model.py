"""Reward models: a policy learns from human ratings or preferences which of two texts people prefer.

P(a is preferred to b) = σ(s(a) − s(b)) (Bradley and Terry 1952; Ziegler et al. 2019), where the score s is the policy's
value after the text. The result is an ordinary run; `text/Write-v0` accepts it as its reward.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.loop.trainer import Trainer
from ppo.run.files import write_atomically
from ppo.run.logger import Progress
from ppo.supervised.comparisons import Comparisons, repeats, split
from ppo.supervised.fit import check_trainer, fit
from ppo.supervised.quality import Quality, quality
from ppo.text.ratings import Ratings, read
from ppo.text.reward_model import score


@dataclass(frozen=True)
class RewardModelResult:
    """The result of training a reward model."""

    run_dir: Path
    quality: Quality
    tokens: int
    finished: bool  # False: stopped by a signal, so that text/Write-v0 does not accept it


class RewardModelTraining:
    """The training of a reward model, which has checked its arguments and waits for `run`; see `train_reward_model`."""

    def __init__(self, trainer: Trainer, source: str, raters: str = "all", patience: int = 5) -> None:
        self.trainer, self.patience = trainer, patience
        check_trainer(trainer, patience)
        env = text_env(trainer.envs)
        if env is None:
            raise UsageError(
                f"{trainer.config.env_id} is not a text environment, so it has no tokens to learn; name one, for example text/Write-v0"
            )
        self.ratings = _read(source)
        training, held_out = split(self.ratings, source)
        self.held_out = np.concatenate(held_out)
        self.repeats = repeats(self.ratings)  # items that repeat an earlier one
        self.comparisons, self.end = Comparisons(self.ratings, raters), env.vocabulary.end
        self.texts = [env.vocabulary.encode(text, f"a text of {source}") for text in self.ratings.texts]
        self.batches = _batches(training, trainer.config.num_envs, np.random.default_rng(trainer.config.seed))

    def run(self, report: Callable[[Progress], None] | None = None) -> RewardModelResult:
        """Train the policy, and write its run folder; `report` is called after each minibatch."""
        trainer, held_out = self.trainer, self.held_out
        result = fit(trainer, "reward", "eval/loss", self.patience, self._train_step, self._evaluate, report)
        lengths = np.array([len(self.texts[n]) for n in held_out])
        figures = quality(self._scores(held_out).numpy(), self.ratings, held_out, lengths)
        values = json.loads(json.dumps(asdict(figures)), parse_constant=lambda nan: None)  # JSON has no NaN
        write_atomically(result.run_dir / "quality.json", json.dumps(values, indent=2).encode())
        return RewardModelResult(result.run_dir, figures, trainer.global_step, result.finished)

    def _train_step(self, learning_rate: float) -> tuple[dict[str, float], int]:
        indices, learner = next(self.batches), self.trainer.learner
        values, tokens = self._values(learner.policy.forward, indices)
        loss = learner.descend(bradley_terry(values, self.comparisons(indices).to(values)), learning_rate)
        return {"loss": loss}, tokens

    def _evaluate(self) -> float:
        return float(bradley_terry(self._scores(self.held_out), self.comparisons(self.held_out)))

    @torch.no_grad()
    def _scores(self, indices: np.ndarray) -> Tensor:
        """Return the scores of the texts with these indices, on the CPU."""
        chunks = np.array_split(indices, math.ceil(len(indices) / 256))
        return torch.cat([self._values(self.trainer.policy, chunk)[0] for chunk in chunks]).cpu()

    def _values(self, policy: Callable[..., Any], indices: np.ndarray) -> tuple[Tensor, int]:
        """Return a policy's values of the texts with these indices, and the number of their tokens."""
        batch, space = [self.texts[n] for n in indices], self.trainer.envs.single_observation_space
        state = self.trainer.policy.initial_state(len(batch))
        return score(policy, state, batch, self.end, space), sum(map(len, batch))


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
        UsageError: there are no ratings, they cannot be split, or the environment is not text.
    """
    return RewardModelTraining(trainer, source, raters, patience).run(report)


def bradley_terry(scores: Tensor, preferred: Tensor) -> Tensor:
    """Return the mean of −P log σ(s(a) − s(b)) − (1 − P) log σ(s(b) − s(a)) over pairs of texts.

    Args:
        scores: s, (B,).
        preferred: P = P(a is preferred to b), (B, B); pairs with NaN are left out.
    """
    logits, known = scores[:, None] - scores, ~preferred.isnan()
    return F.binary_cross_entropy_with_logits(logits[known], preferred[known])


def _read(source: str) -> Ratings:
    ratings = read(source)
    if not ratings.ratings and not ratings.pairs:
        raise UsageError(f'{source} has texts without ratings; give lines {{"text": …, "ratings": […]}}')
    return ratings


def _batches(groups: list[np.ndarray], num_texts: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield indices of about `num_texts` texts, endlessly, each epoch in a new random order."""
    size = max(2 // len(groups[0]), num_texts // len(groups[0]))
    while True:
        order = rng.permutation(len(groups))
        for begin in range(0, max(len(order) - size + 1, 1), size):
            yield np.concatenate([groups[n] for n in order[begin : begin + size]])
