"""Pretraining: a policy learns by maximum likelihood to write the sequences of a corpus or of demonstrations.

Tokens come in the shape of a rollout, sequence after sequence, so that the policy reads them as it will read its own. The
result is an ordinary run: `ppo train --init-from`, `--reference` and `ppo sample` accept it.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo.envs.text_env import Demonstration, TextEnv
from ppo.errors import UsageError
from ppo.loop.losses import valid_mean
from ppo.loop.trainer import Trainer
from ppo.machine.distributed import gathered, rank, size
from ppo.policies import Policy
from ppo.run.logger import Progress
from ppo.supervised.fit import check_trainer, fit
from ppo.text.corpus import read_lines, split
from ppo.text.env import pack_tokens

EVALUATION_WINDOWS = 4  # of (T, N) tokens


class TokenBatch(NamedTuple):
    """A window of T tokens of N streams, and the token that follows each."""

    obs: Tensor  # (T, N, *obs)
    starts: Tensor  # (T, N) bool: the token begins a sequence
    valid: Tensor  # (T, N) bool: the next token is the policy's
    actions: Tensor  # (T, N) the next token


@dataclass(frozen=True)
class PretrainResult:
    """The result of pretraining."""

    run_dir: Path
    perplexity: float  # of the saved policy, on held-out sequences
    tokens: int  # of training
    held_out: int  # tokens that the perplexity is of
    finished: bool  # False: stopped by a signal; pretraining cannot be resumed


class Pretraining:
    """The pretraining of a policy, which has checked its arguments and waits for `run`; see `pretrain`."""

    def __init__(self, trainer: Trainer, corpus: str = "", patience: int = 5) -> None:
        self.trainer, self.patience = trainer, patience
        self.notes: list[str] = []
        env = check_trainer(trainer, patience)
        training, held_out = _sources(trainer, env, corpus)
        self.batches = _batches(_note_long(training, env.max_tokens, self.notes), trainer, env)
        self.windows = list(itertools.islice(_batches(held_out, trainer, env), EVALUATION_WINDOWS))
        self.state = trainer.policy.initial_state(trainer.config.num_envs)  # (N, H) after the last batch
        streams = torch.arange(trainer.config.num_envs)
        self.minibatches = [(chunk, own_part(chunk)) for chunk in streams.chunk(trainer.config.num_minibatches)]

    def run(self, report: Callable[[Progress], None] | None = None) -> PretrainResult:
        """Train the policy, and write its run folder; `report` is called after each iteration."""
        steps = self._train_step, lambda: perplexity(self.trainer.policy, self.windows)
        result = fit(self.trainer, "pretrain", "eval/perplexity", self.patience, *steps, report, self.notes)
        held_out = sum(int(window.valid.sum()) for window in self.windows)
        return PretrainResult(result.run_dir, result.metric, self.trainer.global_step, held_out, result.finished)

    def _train_step(self, learning_rate: float) -> tuple[float, int]:
        """Take a step on each minibatch of streams, and return the last loss and the number of tokens."""
        learner, config, batch, loss = self.trainer.learner, self.trainer.config, next(self.batches), math.nan
        for whole, streams in self.minibatches:
            minibatch, total = TokenBatch(*(x[:, streams] for x in batch)), batch.valid[:, whole].sum().clamp(min=1)
            dist, _, next_state = learner.policy.forward(minibatch.obs, self.state[streams], minibatch.starts)
            log_probs = dist.log_prob(minibatch.actions)
            loss = learner.descend(-valid_mean(log_probs, minibatch.valid, total), learning_rate)
            self.state[streams] = next_state.detach()
        return loss, config.batch_size


def pretrain(
    trainer: Trainer, corpus: str = "", patience: int = 5, report: Callable[[Progress], None] | None = None
) -> PretrainResult:
    """Train a trainer's policy on a corpus or on demonstrations, and write its run folder.

    Args:
        trainer: new; its settings are used: num_envs and num_steps, learning_rate, total_timesteps in tokens.
        corpus: text file, one sequence per line; empty: the task's own demonstrations.
        patience: stop after this many evaluations without a lower held-out perplexity and keep the best policy; 0: train
            to the end and keep the last.
        report: called after each iteration.

    Raises:
        UsageError: there are no demonstrations, or a line has symbols that are not in the vocabulary.
    """
    return Pretraining(trainer, corpus, patience).run(report)


@torch.no_grad()
def perplexity(policy: Policy, windows: list[TokenBatch]) -> float:
    """Return exp of the mean negative log-likelihood of the policy's tokens, in consecutive windows."""
    streams = own_part(torch.arange(windows[0].valid.shape[1]))
    state, log_probs, valid = policy.initial_state(len(streams)), [], []
    for batch in windows:
        dist, _, state = policy(batch.obs[:, streams], state, batch.starts[:, streams])
        log_probs.append(dist.log_prob(batch.actions[:, streams]))
        valid.append(batch.valid[:, streams])
    total = torch.cat([batch.valid for batch in windows]).sum().clamp(min=1)
    return math.exp(-sum(gathered(float(valid_mean(torch.cat(log_probs), torch.cat(valid), total)))))


def own_part(streams: Tensor) -> Tensor:
    """Return this rank's part of streams (B,).

    Raises:
        UsageError: they do not divide.
    """
    if len(streams) % size():
        raise UsageError(
            f"a minibatch of {len(streams)} texts does not divide into processes = {size()}; choose a divisor of {len(streams)}"
        )
    return streams.chunk(size())[rank()]


def _sources(trainer: Trainer, env: TextEnv, corpus: str) -> tuple[Iterator[Demonstration], Iterator[Demonstration]]:
    """Return endless sequences for training, and others for evaluation."""
    seed = trainer.config.seed
    rng = np.random.default_rng(seed)
    sequences = env.demonstrations
    if corpus:
        sequences = [([], env.vocabulary.encode(line, f"a line of {corpus}")) for line in read_lines(corpus)]
    if sequences:
        training, held_out = split(sequences, corpus or trainer.config.env_id)
        return _shuffle(training, rng), _shuffle(held_out, np.random.default_rng(0))
    return _demonstrate(env, rng), _demonstrate(env, np.random.default_rng(10**9 + seed))


def _note_long(sequences: Iterator[Demonstration], max_tokens: int, notes: list[str]) -> Iterator[Demonstration]:
    """Pass sequences on; the first one whose turns are longer than the task allows adds a note."""
    for sequence in sequences:
        length = sum(len(turn) + 1 for turn in sequence[1::2])  # each turn ends with the end token
        if 0 < max_tokens < length and not notes:
            notes.append(
                f"a demonstration has {length} tokens, more than max_tokens = {max_tokens}: the policy learns its end, but "
                "the task stops before"
            )
        yield sequence


def _demonstrate(env: TextEnv, rng: np.random.Generator) -> Iterator[Demonstration]:
    while True:
        yield env.demonstrate(rng)


def _shuffle(sequences: list[Demonstration], rng: np.random.Generator) -> Iterator[Demonstration]:
    while True:
        for n in rng.permutation(len(sequences)):
            yield sequences[n]


def _batches(sequences: Iterator[Demonstration], trainer: Trainer, env: TextEnv) -> Iterator[TokenBatch]:
    """Yield windows of N streams of sequences; a sequence that a window cuts continues in the next window."""
    space, steps = trainer.envs.single_observation_space, trainer.config.num_steps
    queues: list[list[tuple[int, bool, bool, int]]] = [[] for _ in range(trainer.config.num_envs)]
    while True:
        for queue in queues:
            while len(queue) < steps:
                queue += rows(next(sequences), env.vocabulary.end)
        table = np.array([queue[:steps] for queue in queues]).transpose(2, 1, 0)  # (4, T, N)
        queues = [queue[steps:] for queue in queues]
        starts, valid, actions = (torch.from_numpy(x).to(trainer.parts.device.value) for x in table[1:])
        yield TokenBatch(pack_tokens(space, table[0], trainer.parts.device.value), starts.bool(), valid.bool(), actions)


def rows(sequence: Demonstration, end: int) -> list[tuple[int, bool, bool, int]]:
    """Return (token, start, valid, next token) for each step of a sequence.

    Args:
        sequence: token ids of a prompt, a turn of the policy, a reply, a turn, ….
        end: the end token, which begins the sequence and ends each turn.
    """
    prompt, *parts = sequence
    tokens, own = [end, *prompt], [False] * (1 + len(prompt))
    for n, part in enumerate(parts):
        turn = [*part, end] if n % 2 == 0 else part
        tokens += turn
        own += [n % 2 == 0] * len(turn)
    # The policy cannot write read-only tokens, whose ids follow the end token.
    return [
        (token, n == 0, own[n + 1] and following <= end, min(following, end))
        for n, (token, following) in enumerate(itertools.pairwise(tokens))
    ]
