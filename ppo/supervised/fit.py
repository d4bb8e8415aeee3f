"""The supervised loop that pretraining and reward models share: learning rate, early stopping, log and run folder."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ppo.errors import UsageError
from ppo.loop.trainer import Trainer
from ppo.machine.distributed import any_rank
from ppo.machine.phase import phase
from ppo.machine.process import seed_everything, stop_signals
from ppo.run.logger import Progress, open_logger

EVALUATIONS = 20  # at most, in a run


class FitResult(NamedTuple):
    """A fitted run."""

    run_dir: Path
    metric: float  # of the saved policy, on held-out data
    finished: bool  # False: stopped by a signal


def fit(
    trainer: Trainer, command: str, metric: str, patience: int, train_step: Callable[[float], tuple[dict[str, float], int]],
    evaluate: Callable[[], float], report: Callable[[Progress], None] | None = None, notes: Sequence[str] = (),
    scores: Callable[[], dict[str, Any] | None] = lambda: None,
) -> FitResult:  # fmt: skip
    """Train a trainer's policy for its budget of tokens, and write its run folder.

    Args:
        trainer: new; its settings are used: learning_rate, anneal_lr, total_timesteps in tokens, seed.
        command: "pretrain" or "reward"; the losses are logged as `COMMAND/NAME`.
        metric: tag of the metric on held-out data; smaller is better.
        patience: stop after this many evaluations without a better metric and keep the best policy; 0: train to the end
            and keep the last.
        train_step: takes the next step at a learning rate; returns the losses by name and the number of tokens or steps used.
        evaluate: returns the metric.
        report: called after each step.
        notes: sentences for the report; more may be added while training.
        scores: called at the end; returns the scale of a reward model's scores.
    """
    config, vector = trainer.config, trainer.learner.policy.vector
    run_dir, begin = trainer.open_run(), time.perf_counter()
    seed_everything(config.seed, (0, 0))
    best, best_vector, worse, next_evaluation, over = math.inf, vector.clone(), 0, 1 / EVALUATIONS, False
    with contextlib.closing(open_logger(run_dir, config.to_json())) as logger, stop_signals() as stop:
        while not over:
            learning_rate = trainer.learner.coefs.set(trainer.global_step / config.total_timesteps)["learning_rate"]
            losses, tokens = train_step(learning_rate)
            trainer.iteration, trainer.global_step = trainer.iteration + 1, trainer.global_step + tokens
            progress, value = trainer.global_step / config.total_timesteps, math.nan
            # Another step of the same size would exceed the budget.
            stopped = any_rank(stop.is_set())
            over = stopped or trainer.global_step + tokens > config.total_timesteps
            if over or progress >= next_evaluation:
                next_evaluation += 1 / EVALUATIONS
                with phase("evaluating on held-out data"):
                    value = evaluate()
                worse = 0 if value < best else worse + 1
                if value < best or not patience:
                    best, best_vector = value, vector.clone()
                over = over or 0 < patience <= worse
            row = {f"{command}/{name}": loss for name, loss in losses.items()} | {
                metric: value, "charts/learning_rate": learning_rate,
                "charts/SPS": trainer.global_step / (time.perf_counter() - begin),
            }  # fmt: skip
            logger.write(row, trainer.iteration, trainer.global_step)
            if report is not None:
                report(Progress(row, trainer.iteration, trainer.global_step, config.total_timesteps, tuple(notes)))
        vector.copy_(best_vector)
        trainer.save(not stopped, made_by=command, scores=scores())
    return FitResult(run_dir, best, finished=not stopped)


def check_trainer(trainer: Trainer, patience: int) -> None:
    """Check the settings of supervised training.

    Raises:
        UsageError: a setting cannot be used here.
    """
    if patience < 0:
        raise UsageError(f"patience = {patience} is too small; choose at least 0")
    config = trainer.config
    if (config.temperature, config.top_k, config.top_p) != (1.0, 0, 1.0):
        raise UsageError("temperature, top_k and top_p affect only sampling, not supervised training; leave them out")
    if config.stop_at:
        raise UsageError(
            f"stop_at = {config.stop_at!r} has no effect here; use --patience, which ends supervised training"
        )
    if adapted := [name for name in trainer.learner.coefs.adapted if name != "gamma"]:  # which has its start
        raise UsageError(
            f"{' and '.join(adapted)} cannot adapt in supervised training, which measures no KL divergence and "
            "no entropy; choose a number or a schedule"
        )
