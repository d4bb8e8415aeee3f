"""Pretraining: a policy learns by maximum likelihood to act as demonstrations do, or to write the sequences of a corpus.

Sequences come in the shape of a rollout, one after another, so that the policy reads them as it will read its own. The
result is an ordinary run: `ppo train --init-from`, `--reference` and `ppo eval` accept it.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.loop.batch import fold
from ppo.loop.losses import valid_mean
from ppo.loop.trainer import Trainer
from ppo.machine.distributed import gathered, rank, size, sum_
from ppo.policies import Policy
from ppo.run.logger import Progress
from ppo.supervised.control_examples import ControlExamples
from ppo.supervised.fit import check_trainer, fit
from ppo.supervised.returns import Returns
from ppo.supervised.streams import Window, tables
from ppo.supervised.text_examples import TextExamples


class Examples(Protocol):
    """Sequences to learn, as integers in endless pieces (K, length), and what these stand for.

    Attributes:
        tag: of the metric on held-out sequences.
        score: makes that metric of the mean negative log-likelihood.
        returns: what the critic learns; None: it learns nothing.
        windows: of held-out sequences in an evaluation.
        distinct: held-out steps or tokens that differ; infinite if they are generated.
        training: pieces to learn.
        held_out: pieces for evaluations.
        notes: sentences for the report; more may be added.
    """

    tag: str
    score: Callable[[float], float]
    returns: Returns | None
    windows: int
    distinct: float
    training: Iterator[np.ndarray]
    held_out: Iterator[np.ndarray]
    notes: list[str]

    def window(self, table: np.ndarray) -> Window:
        """Return the window that (K, T, N) integers stand for."""


@dataclass(frozen=True)
class PretrainResult:
    """The result of pretraining."""

    run_dir: Path
    loss: float  # mean negative log-likelihood of the saved policy, in nats, on held-out sequences
    steps: int  # or tokens, of training
    held_out: int  # steps or tokens that the loss is of
    finished: bool  # False: stopped by a signal; pretraining cannot be resumed

    @property
    def perplexity(self) -> float:
        """The exponential function of the loss."""
        return math.exp(self.loss)


class Pretraining:
    """The pretraining of a policy, which has checked its arguments and waits for `run`; see `pretrain`."""

    def __init__(self, trainer: Trainer, corpus: str = "", demonstrations: str = "", patience: int = 5) -> None:
        check_trainer(trainer, patience)
        self.trainer, self.patience = trainer, patience
        config, recurrent = trainer.config, trainer.policy.state_size > 0
        self.examples: Any = examples_of(trainer, corpus, demonstrations)
        self.tables = tables(self.examples.training, config.num_steps, config.num_envs)
        held_out = tables(self.examples.held_out, config.num_steps, config.num_envs)
        self.held_out = list(itertools.islice(held_out, self.examples.windows))
        self.length = config.num_steps if recurrent else 1  # L; without a state, the order of rows does not matter
        sequences = torch.arange(config.batch_size // self.length)
        self.state = trainer.policy.initial_state(len(sequences))  # (B, H) after the last window
        self.minibatches = [(chunk, own_part(chunk)) for chunk in sequences.chunk(config.num_minibatches)]

    def run(self, report: Callable[[Progress], None] | None = None) -> PretrainResult:
        """Train the policy, and write its run folder; `report` is called after each iteration."""
        best = math.inf, math.inf  # score, loss

        def evaluate() -> float:
            nonlocal best
            loss = held_out_loss(self.trainer.policy, map(self.examples.window, self.held_out))
            score = self.examples.score(loss)
            best = min(best, (score, loss)) if self.patience else (score, loss)
            return score

        options = self.patience, self._train_step, evaluate, report, self.examples.notes
        result = fit(self.trainer, "pretrain", self.examples.tag, *options)
        scored = sum(int(self.examples.window(table).valid.sum()) for table in self.held_out)
        held_out = int(min(scored, self.examples.distinct))
        return PretrainResult(result.run_dir, best[1], self.trainer.global_step, held_out, result.finished)

    def _train_step(self, learning_rate: float) -> tuple[dict[str, float], int]:
        """Take a step on each minibatch of sequences, and return the losses of the last and the number of steps."""
        learner, config, returns = self.trainer.learner, self.trainer.config, self.examples.returns
        batch = Window(*(fold(x, self.length) for x in self.examples.window(next(self.tables))))
        losses: dict[str, Tensor] = {}
        for whole, own in self.minibatches:
            minibatch, total = Window(*(x[:, own] for x in batch)), batch.valid[:, whole].sum().clamp(min=1)
            dist, values, next_state = learner.policy.forward(minibatch.obs, self.state[own], minibatch.starts)
            losses = {"loss": -valid_mean(dist.log_prob(minibatch.actions), minibatch.valid, total)}
            if returns is not None:
                losses["value_loss"] = returns.loss(values, minibatch.rows, minibatch.valid, total)
            learner.descend(
                losses["loss"] + float(learner.coefs.loss.vf_coef) * losses.get("value_loss", 0.0), learning_rate
            )
            self.state[own] = next_state.detach()
        sums = sum_(torch.stack([x.detach() for x in losses.values()])).tolist()
        return dict(zip(losses, sums, strict=True)), config.batch_size


def pretrain(
    trainer: Trainer, corpus: str = "", patience: int = 5, report: Callable[[Progress], None] | None = None, *,
    demonstrations: str | Path = ""
) -> PretrainResult:  # fmt: skip
    """Train a trainer's policy on demonstrations or on a corpus, and write its run folder.

    Args:
        trainer: new; its settings are used: num_envs and num_steps, learning_rate, total_timesteps in steps or tokens.
        corpus: of a text task: file with one sequence per line; empty: the task's own demonstrations.
        patience: stop after this many evaluations without a lower loss on held-out sequences and keep the best policy; 0:
            train to the end and keep the last.
        report: called after each iteration.
        demonstrations: of any other environment: recorded episodes; see `ppo.demonstrations.read`.

    Raises:
        UsageError: there are no demonstrations, or they do not fit the environment.
    """
    return Pretraining(trainer, corpus, str(demonstrations), patience).run(report)


def examples_of(trainer: Trainer, corpus: str, demonstrations: str) -> ControlExamples | TextExamples:
    """Return the sequences to learn.

    Raises:
        UsageError: there are none for this environment.
    """
    env, env_id = text_env(trainer.envs), trainer.config.env_id
    if env is not None and not demonstrations:
        return TextExamples(trainer, env, corpus)
    if env is not None:
        raise UsageError(f"{env_id} is a text environment; give a text file with --corpus", page="text#pretraining")
    if corpus:
        raise UsageError(
            f"{env_id} is not a text environment and takes no corpus; leave out --corpus", page="howto/demonstrations"
        )
    if not demonstrations:
        raise UsageError(
            f"{env_id} is not a text environment; give recorded episodes with --demonstrations, from `ppo record` for example",
            page="howto/demonstrations",
        )
    return ControlExamples(trainer, demonstrations)


@torch.no_grad()
def held_out_loss(policy: Policy, windows: Iterable[Window]) -> float:
    """Return the mean negative log-likelihood of the actions in consecutive windows."""
    state, log_probs, valid, total = torch.empty(0), list[Tensor](), list[Tensor](), 0
    for window in windows:
        streams = own_part(torch.arange(window.valid.shape[1]))
        state = state if len(log_probs) else policy.initial_state(len(streams))
        dist, _, state = policy(window.obs[:, streams], state, window.starts[:, streams])
        log_probs.append(dist.log_prob(window.actions[:, streams]))
        valid.append(window.valid[:, streams])
        total += int(window.valid.sum())
    count = torch.tensor(max(total, 1), device=state.device)
    return -sum(gathered(float(valid_mean(torch.cat(log_probs), torch.cat(valid), count))))


def own_part(streams: Tensor) -> Tensor:
    """Return this rank's part of streams (B,).

    Raises:
        UsageError: they do not divide.
    """
    if len(streams) % size():
        raise UsageError(
            f"a minibatch of {len(streams)} sequences does not divide into processes = {size()}; choose a divisor of {len(streams)}"
        )
    return streams.chunk(size())[rank()]
