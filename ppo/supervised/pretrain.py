"""Pretraining: a policy of tokens learns by maximum likelihood to write what it is shown.

What it is shown comes in the shape of a rollout, sequence after sequence, so that the policy sees it as it will see its
own writing. What is saved is a run like any other: `ppo train --init-from`, `--reference`, `ppo sample` take it.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo.errors import UsageError
from ppo.loop.losses import valid_mean
from ppo.loop.trainer import Trainer
from ppo.policies import Policy
from ppo.run.logger import Progress
from ppo.supervised.fit import Goal, check, fit
from ppo.text import Vocabulary
from ppo.text.corpus import read_lines, split
from ppo.text.env import packed
from ppo.text.vocabulary import vocabulary_in

WINDOWS = 4  # of (T, N) tokens, on which it is evaluated

Parts = tuple[list[int], ...]  # a prompt, a response, and in a dialogue replies and responses alternately, in tokens


class Shown(NamedTuple):
    """Tokens that are shown, (T, N) each, and those that are to be written after them."""

    obs: Tensor
    starts: Tensor  # bool
    valid: Tensor  # bool: the next token is of a response
    actions: Tensor


@dataclass(frozen=True)
class PretrainResult:
    """What pretraining came to."""

    run_dir: Path
    perplexity: float  # on what was held out, of the policy that is kept
    tokens: int


def pretrain(
    trainer: Trainer, corpus: str = "", patience: int = 5, report: Callable[[Progress], None] | None = None
) -> PretrainResult:
    """Train a trainer's policy on a corpus or on demonstrations, and write its run folder.

    Args:
        trainer: new; its settings say how: num_envs and num_steps, learning_rate, total_timesteps in tokens.
        corpus: text file, one sequence a line; empty: the task's own demonstrations.
        patience: evaluations without a better perplexity after which it stops, and the best is kept; 0: it goes on to
            the end, and the last is kept.
        report: called after each iteration.

    Raises:
        UsageError: there is nothing to learn from, or it is not of the vocabulary.
    """
    check(trainer, patience)
    training, held_out = _sources(trainer, corpus)
    config, policy = trainer.config, trainer.policy
    shape = (config.num_steps, config.num_envs)
    shown, state = _shown(training, trainer, *shape), policy.initial_state(config.num_envs)
    windows = list(itertools.islice(_shown(held_out, trainer, *shape), WINDOWS))

    def step(rate: float) -> tuple[float, int]:
        return _learn(trainer, rate, next(shown), state), config.batch_size

    goal = Goal("pretrain", "pretrain/loss", "eval/perplexity", patience)
    run_dir, best, _ = fit(trainer, goal, step, lambda: perplexity(policy, windows), report)
    return PretrainResult(run_dir, best, trainer.global_step)


def _learn(trainer: Trainer, rate: float, shown: Shown, state: Tensor) -> float:
    """Take a step on each minibatch of places, move their states (N, H) on in place, and return the last loss."""
    learner, config, loss = trainer.learner, trainer.config, math.nan
    for places in torch.arange(config.num_envs).chunk(config.num_minibatches):
        minibatch = Shown(*(x[:, places] for x in shown))
        dist, _, after = learner.policy.forward(minibatch.obs, state[places], minibatch.starts)
        loss = learner.descend(-valid_mean(dist.log_prob(minibatch.actions), minibatch.valid), rate)
        state[places] = after.detach()
    return loss


@torch.no_grad()
def perplexity(policy: Policy, windows: list[Shown]) -> float:
    """Return exp of the mean negative log-likelihood of what is to be written, in windows that follow each other."""
    state, found, valid = policy.initial_state(windows[0].valid.shape[1]), [], []
    for shown in windows:
        dist, _, state = policy(shown.obs, state, shown.starts)
        found.append(dist.log_prob(shown.actions))
        valid.append(shown.valid)
    return float(valid_mean(torch.cat(found), torch.cat(valid)).neg().exp())


def _sources(trainer: Trainer, corpus: str) -> tuple[Iterator[Parts], Iterator[Parts]]:
    """Return endless pairs to train on, and others to test on."""
    env = trainer.envs.unwrapped
    vocabulary = vocabulary_in(env, trainer.config.env_id)
    rng = np.random.default_rng(trainer.config.seed)
    lines: list[Parts] = getattr(env, "demonstrations", [])
    if corpus:
        lines = [_encoded(vocabulary, line, corpus) for line in read_lines(corpus)]
    if lines:
        kept, held_out = split(lines, corpus or trainer.config.env_id)
        return _drawn(kept, rng), _drawn(held_out, np.random.default_rng(0))
    other = np.random.default_rng(10**9 + trainer.config.seed)
    return _demonstrated(env, rng), _demonstrated(env, other)


def _encoded(vocabulary: Vocabulary, line: str, where: str) -> Parts:
    try:
        return [], vocabulary.encode(line)
    except UsageError as error:
        raise UsageError(f"{where}, {line!r:.60}: {error}") from error


def _demonstrated(env: Any, rng: np.random.Generator) -> Iterator[Parts]:
    while True:
        yield env.demonstrate(rng)


def _drawn(pairs: list[Parts], rng: np.random.Generator) -> Iterator[Parts]:
    while True:
        for n in rng.permutation(len(pairs)):
            yield pairs[n]


def _shown(pairs: Iterator[Parts], trainer: Trainer, steps: int, places: int) -> Iterator[Shown]:
    """Yield what (T, N) places show, sequence after sequence in each, a cut one going on in the next."""
    space, end = trainer.envs.single_observation_space, trainer.envs.unwrapped.vocabulary.end  # type: ignore[attr-defined]
    rest: list[list[tuple[int, bool, bool, int]]] = [[] for _ in range(places)]
    while True:
        for place in rest:
            while len(place) < steps:
                prompt, *parts = next(pairs)
                tokens, written = [end, *prompt], [False] * (1 + len(prompt))
                for n, part in enumerate(parts):
                    own = [end] if n % 2 == 0 else []  # ends a turn of the policy's
                    tokens += [*part, *own]
                    written += [bool(own)] * (len(part) + len(own))
                for n, (token, following) in enumerate(itertools.pairwise(tokens)):
                    place.append((token, n == 0, written[n + 1] and following <= end, min(following, end)))
        table = np.array([place[:steps] for place in rest]).transpose(2, 1, 0)  # (4, T, N)
        rest = [place[steps:] for place in rest]
        starts, valid, actions = (torch.from_numpy(x).to(trainer.device.value) for x in table[1:])
        yield Shown(packed(space, table[0], trainer.device.value), starts.bool(), valid.bool(), actions)
