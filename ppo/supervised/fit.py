"""Supervised training: what pretraining and reward models share, from the step size to the run's folder."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ppo.errors import UsageError
from ppo.loop.trainer import Trainer
from ppo.machine.process import seed_everything, stopped_by_signal
from ppo.run.logger import Logger, Progress

EVALUATIONS = 20  # of a run at most


class Goal(NamedTuple):
    """What is learnt from, the figures' names, and when it is enough."""

    made_by: str  # the command: "pretrain" or "reward"
    loss: str  # name of the loss in the log
    test: str  # name of the figure on what is held out; smaller is better
    patience: int  # evaluations without a better figure after which it stops, and the best is kept; 0: the last is kept


def fit(
    trainer: Trainer, goal: Goal, step: Callable[[float], tuple[float, int]], test: Callable[[], float],
    report: Callable[[Progress], None] | None = None,
) -> tuple[Path, float, bool]:  # fmt: skip
    """Train a trainer's policy for its budget of tokens, and write its run folder.

    Args:
        trainer: new; its settings say how: learning_rate, anneal_lr, total_timesteps in tokens, seed.
        goal: see there.
        step: learns from the next batch at a learning rate; returns its loss and how many tokens it had.
        test: returns the figure on what is held out.
        report: called after each iteration.

    Returns:
        The run's folder, the figure of the policy that is kept, and whether it ended by itself, not by a signal.
    """
    config, vector = trainer.config, trainer.learner.policy.vector
    run_dir, begin = trainer.open_run(), time.perf_counter()
    seed_everything(config.seed, (0, 0))
    best, kept, since, due, over = math.inf, vector.clone(), 0, 1 / EVALUATIONS, False
    with contextlib.closing(Logger(run_dir, config.to_json())) as logger, stopped_by_signal() as stop:
        while not over:
            rate = config.learning_rate
            if config.anneal_lr:
                rate *= 1 - trainer.global_step / config.total_timesteps
            loss, tokens = step(rate)
            trainer.iteration, trainer.global_step = trainer.iteration + 1, trainer.global_step + tokens
            done, found = trainer.global_step / config.total_timesteps, math.nan
            spent = trainer.global_step + tokens > config.total_timesteps  # another such step would exceed it
            over = stop.is_set() or spent
            if over or done >= due:
                due, found = due + 1 / EVALUATIONS, test()
                since = 0 if found < best else since + 1
                if found < best or not goal.patience:
                    best, kept = found, vector.clone()
                over = over or 0 < goal.patience <= since
            row = {
                goal.loss: loss, goal.test: found, "charts/learning_rate": rate,
                "charts/SPS": trainer.global_step / (time.perf_counter() - begin),
            }  # fmt: skip
            logger.write(row, trainer.iteration, trainer.global_step)
            if report is not None:
                report(Progress(row, trainer.iteration, trainer.global_step, config.total_timesteps))
        vector.copy_(kept)
        trainer.made_by, finished = goal.made_by, not stop.is_set()
        trainer.save(finished)
    return run_dir, best, finished


def check(trainer: Trainer, patience: int) -> None:
    """Refuse settings that have no meaning here.

    Raises:
        UsageError: names the setting.
    """
    if patience < 0:
        raise UsageError(f"patience = {patience} is too small; choose at least 0")
    if (trainer.config.temperature, trainer.config.top_k, trainer.config.top_p) != (1.0, 0, 1.0):
        raise UsageError("temperature, top_k and top_p shape sampling, not what is learnt; leave them out")
