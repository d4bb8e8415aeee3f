"""Pretraining: a policy of tokens learns by maximum likelihood to write what it is shown.

What it is shown comes in the shape of a rollout, sequence after sequence, so that the policy sees it as it will see its
own writing. What is saved is a run like any other: `ppo train --init-from`, `--reference`, `ppo sample` take it.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo.envs.spaces import Packer, mask_columns
from ppo.errors import UsageError
from ppo.logger import Logger
from ppo.losses import valid_mean
from ppo.optimizers import clip_
from ppo.policies import Policy
from ppo.process import seed_everything
from ppo.terminal import Progress
from ppo.text import Vocabulary
from ppo.text.corpus import read_lines
from ppo.trainer import Trainer

HELD_OUT = 10  # every tenth line of a corpus, or as many demonstrations as fill a batch
EVALUATIONS = 20  # of a run at most

Pair = tuple[list[int], list[int]]  # a prompt and a response, in tokens


class Shown(NamedTuple):
    """Tokens that are shown, (T, N) each, and those that are to be written after them."""

    obs: Tensor
    starts: Tensor  # bool
    valid: Tensor  # bool: the next token is of a response
    actions: Tensor


@dataclass(frozen=True)
class Found:
    """What pretraining came to."""

    run_dir: Path
    perplexity: float  # on what was held out, of the policy that is kept
    tokens: int


def pretrain(
    trainer: Trainer, corpus: str = "", patience: int = 5, report: Callable[[Progress], None] | None = None
) -> Found:
    """Train a trainer's policy on a corpus or on demonstrations, and write its run folder.

    Args:
        trainer: new; its settings say how: num_envs and num_steps, learning_rate, total_timesteps in tokens.
        corpus: text file, one sequence a line; empty: the task's own demonstrations.
        patience: evaluations without a better perplexity after which it stops.
        report: called after each iteration.

    Raises:
        UsageError: there is nothing to learn from, or it is not of the vocabulary.
    """
    training, held_out = _sources(trainer, corpus)
    config, vector, policy = trainer.config, trainer.learner.policy.vector, trainer.policy
    shape = (config.num_steps, config.num_envs)
    test = next(_shown(held_out, trainer, *shape))
    run_dir = trainer.open_run()
    seed_everything(config.seed, (0, 0))
    optimizer = torch.optim.Adam([vector], config.learning_rate)
    iterations = config.total_timesteps // config.batch_size
    every = max(1, iterations // EVALUATIONS)
    best, kept, since = math.inf, vector.clone(), 0
    state, begin = policy.initial_state(config.num_envs), time.perf_counter()
    with contextlib.closing(Logger(run_dir, config.to_json())) as logger:
        for iteration, shown in zip(range(1, iterations + 1), _shown(training, trainer, *shape), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - (iteration - 1) / iterations if config.anneal_lr else 1)
            loss = _learn(trainer, optimizer, shown, state)
            trainer.iteration, trainer.global_step = iteration, iteration * config.batch_size
            due = iteration % every == 0 or iteration == iterations
            found = perplexity(policy, test) if due else math.nan
            row = {
                "pretrain/loss": loss, "eval/perplexity": found,
                "charts/learning_rate": optimizer.param_groups[0]["lr"],
                "charts/SPS": trainer.global_step / (time.perf_counter() - begin),
            }  # fmt: skip
            logger.write(row, iteration, trainer.global_step)
            if report is not None:
                report(Progress(row, iteration, trainer.global_step, config.total_timesteps))
            if due:
                since = 0 if found < best else since + 1
                if found < best:
                    best, kept = found, vector.clone()
                if since >= patience:
                    break
        vector.copy_(kept)
        trainer.checkpoint(run_dir / "checkpoints", math.nan)
    return Found(run_dir, best, trainer.global_step)


def _learn(trainer: Trainer, optimizer: torch.optim.Optimizer, shown: Shown, state: Tensor) -> float:
    """Take a step on each minibatch of places, move their states (N, H) on in place, and return the last loss."""
    flat, config, loss = trainer.learner.policy, trainer.config, math.nan
    for places in torch.arange(config.num_envs).chunk(config.num_minibatches):
        minibatch = Shown(*(x[:, places] for x in shown))
        dist, _, after = trainer.policy(minibatch.obs, state[places], minibatch.starts)
        mean = -valid_mean(dist.log_prob(minibatch.actions), minibatch.valid)
        flat.vector.grad = flat.gradient(mean)
        clip_(flat.vector.grad, config.max_grad_norm)
        optimizer.step()
        state[places], loss = after.detach(), float(mean.detach())
    return loss


@torch.no_grad()
def perplexity(policy: Policy, shown: Shown) -> float:
    """Return exp of the mean negative log-likelihood of the tokens that are to be written."""
    dist = policy(shown.obs, policy.initial_state(shown.valid.shape[1]), shown.starts)[0]
    return math.exp(-float(valid_mean(dist.log_prob(shown.actions), shown.valid)))


def _sources(trainer: Trainer, corpus: str) -> tuple[Iterator[Pair], Iterator[Pair]]:
    """Return endless pairs to train on, and others to test on."""
    env = trainer.envs.unwrapped
    vocabulary = getattr(env, "vocabulary", None)
    if not isinstance(vocabulary, Vocabulary):
        raise UsageError(f"{trainer.config.env_id} is no text environment; there are no tokens to learn")
    rng = np.random.default_rng(trainer.config.seed)
    if corpus:
        lines = [_encoded(vocabulary, line, f"{corpus}, line {n}") for n, line in enumerate(read_lines(corpus), 1)]
        if len(lines) < HELD_OUT:
            raise UsageError(f"{corpus} has {len(lines)} lines; {HELD_OUT} are the least, since a tenth is held out")
        kept = [line for n, line in enumerate(lines) if n % HELD_OUT]
        return _drawn(kept, rng), _drawn(lines[::HELD_OUT], np.random.default_rng(0))
    other = np.random.default_rng(10**9 + trainer.config.seed)
    return _demonstrated(env, rng), _demonstrated(env, other)


def _encoded(vocabulary: Vocabulary, line: str, where: str) -> Pair:
    try:
        return [], vocabulary.encode(line)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _demonstrated(env: Any, rng: np.random.Generator) -> Iterator[Pair]:
    while True:
        yield env.demonstrate(rng)


def _drawn(pairs: list[Pair], rng: np.random.Generator) -> Iterator[Pair]:
    while True:
        for n in rng.permutation(len(pairs)):
            yield pairs[n]


def _shown(pairs: Iterator[Pair], trainer: Trainer, steps: int, places: int) -> Iterator[Shown]:
    """Yield what (T, N) places show, sequence after sequence in each, a cut one going on in the next."""
    space, end = trainer.envs.single_observation_space, trainer.envs.unwrapped.vocabulary.end  # type: ignore[attr-defined]
    packer, masked = Packer(space, trainer.device), mask_columns(space) is not None
    rest: list[list[tuple[int, bool, bool, int]]] = [[] for _ in range(places)]
    while True:
        for place in rest:
            while len(place) < steps:
                prompt, response = next(pairs)
                tokens = [end, *prompt, *response, end]
                place += [(tokens[n], n == 0, n >= len(prompt), tokens[n + 1]) for n in range(len(tokens) - 1)]
        table = np.array([place[:steps] for place in rest]).transpose(2, 1, 0)  # (4, T, N)
        rest = [place[steps:] for place in rest]
        flat = table[0].reshape(-1)
        obs = {"token": flat, "action_mask": np.ones((len(flat), end + 1), np.int8)} if masked else flat
        starts, valid, actions = (torch.from_numpy(x).to(trainer.device) for x in table[1:])
        yield Shown(packer(obs).unflatten(0, (steps, places)), starts.bool(), valid.bool(), actions)
