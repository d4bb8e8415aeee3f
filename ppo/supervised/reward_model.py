"""Reward models: a policy learns from human ratings or preferences which of two texts people prefer.

P(a is preferred to b) = σ(s(a) − s(b)) (Bradley and Terry 1952; Ziegler et al. 2019), where the score s is the policy's
value after the text. The result is an ordinary run; `text/Write-v0` accepts it as its reward, (s − mean) / deviation: the mean and
the deviation over texts of the reference policy are 0 and 1, so that a KL coefficient means the same with each reward model.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
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
from ppo.text.writing import write

SAMPLES = 1024  # of the reference policy, whose scores then have a standard error of 3 % of their deviation


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of the scores over texts, which then are 0 and 1."""

    mean: float
    deviation: float
    texts: str  # which texts, in words

    def __str__(self) -> str:
        """Return the scale in words."""
        return f"mean {self.mean:.3g} and deviation {self.deviation:.3g} of {self.texts}; as rewards they have 0 and 1"


@dataclass(frozen=True)
class RewardModelResult:
    """The result of training a reward model."""

    run_dir: Path
    quality: Quality
    scale: Scale
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
        prompts = {n: env.vocabulary.encode(text, f"a prompt of {source}") for n, text in self.ratings.prompts.items()}
        texts = [env.vocabulary.encode(text, f"a text of {source}") for text in self.ratings.texts]
        self.texts = [[*prompts.get(n, ()), *tokens] for n, tokens in enumerate(texts)]
        # Texts that differ only in what their tokens leave out, such as capital letters, are the same text.
        decode = env.vocabulary.decode
        read_as = replace(
            self.ratings, texts=[*map(decode, texts)], prompts={n: decode(tokens) for n, tokens in prompts.items()}
        )
        training, held_out = split(read_as, source)
        self.held_out = np.concatenate(held_out)
        self.repeats = repeats(read_as)  # items that repeat an earlier one
        self.comparisons, self.end = Comparisons(self.ratings, raters), env.vocabulary.end
        self.training, self.source = np.concatenate(training), source
        self.batches = _batches(training, trainer.config.num_envs, np.random.default_rng(trainer.config.seed))

    def run(self, report: Callable[[Progress], None] | None = None) -> RewardModelResult:
        """Train the policy, and write its run folder; `report` is called after each minibatch."""
        trainer, held_out, scales = self.trainer, self.held_out, list[Scale]()
        texts = self._scaled()

        def scores() -> dict[str, Any]:
            scales.append(self.scale(texts))
            return asdict(scales[0])

        steps = self._train_step, self._evaluate, report
        result = fit(trainer, "reward", "eval/loss", self.patience, *steps, scores=scores)
        lengths = np.array([len(self.texts[n]) for n in held_out])
        figures = quality(self._scores(self._own(held_out)).numpy(), self.ratings, held_out, lengths)
        values = json.loads(json.dumps(asdict(figures)), parse_constant=lambda nan: None)  # JSON has no NaN
        write_atomically(result.run_dir / "quality.json", json.dumps(values, indent=2).encode())
        return RewardModelResult(result.run_dir, figures, scales[0], trainer.global_step, result.finished)

    def _scaled(self) -> list[list[int]]:
        """Return the texts whose scores have the mean 0 and the deviation 1: samples of the reference policy, or those for training.

        Raises:
            UsageError: the reference policy writes only one text.
        """
        reference = self.trainer.config.reference
        texts = self._samples() if reference else self._own(self.training)
        if reference and all(text == texts[0] for text in texts):
            raise UsageError(
                f"reference = {reference!r} writes the same text {len(texts):,} times, so its scores have no deviation; choose a run "
                "that writes different texts, or leave out --reference"
            )
        return texts

    def scale(self, texts: list[list[int]]) -> Scale:
        """Return the scale of the scores now, over these texts.

        Raises:
            UsageError: all texts have the same score.
        """
        config = self.trainer.config
        scores = self._scores(texts).double()
        deviation = float(scores.std(correction=0))
        if not deviation:
            raise UsageError(
                f"the reward model gives each of {len(texts):,} texts the same score; raise learning_rate or total_timesteps"
            )
        kind = f"samples of {config.reference}" if config.reference else f"texts for training of {self.source}"
        return Scale(float(scores.mean()), deviation, f"{len(texts):,} {kind}")

    def _samples(self) -> list[list[int]]:
        """Return sequences that the reference policy writes, as token ids."""
        envs, reference = self.trainer.envs, self.trainer.reference
        assert reference is not None
        state, rounds = reference.policy.initial_state(envs.num_envs), math.ceil(SAMPLES / envs.num_envs)
        written = [
            write(reference.policy, reference.policy.head, state, envs, self.trainer.config.seed + n * envs.num_envs)
            for n in range(rounds)
        ]
        return [[*c.prompt_ids, *c.response_ids] for several in written for c, _ in several]

    def _own(self, indices: np.ndarray) -> list[list[int]]:
        return [self.texts[n] for n in indices]

    def _train_step(self, learning_rate: float) -> tuple[dict[str, float], int]:
        indices, learner = next(self.batches), self.trainer.learner
        values, tokens = self._values(learner.policy.forward, self._own(indices))
        loss = learner.descend(bradley_terry(values, self.comparisons(indices).to(values)), learning_rate)
        return {"loss": loss}, tokens

    def _evaluate(self) -> float:
        return float(bradley_terry(self._scores(self._own(self.held_out)), self.comparisons(self.held_out)))

    @torch.no_grad()
    def _scores(self, texts: list[list[int]]) -> Tensor:
        """Return the scores of texts, on the CPU."""
        chunks = np.array_split(np.arange(len(texts)), math.ceil(len(texts) / 256))
        return torch.cat([self._values(self.trainer.policy, [texts[n] for n in chunk])[0] for chunk in chunks]).cpu()

    def _values(self, policy: Callable[..., Any], texts: list[list[int]]) -> tuple[Tensor, int]:
        """Return a policy's values of texts, and the number of their tokens."""
        state = self.trainer.policy.initial_state(len(texts))
        return score(policy, state, texts, self.end, self.trainer.envs.single_observation_space), sum(map(len, texts))


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
