"""The trainer: the one loop that wires environments, policy, collector, learner and logger together."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

from gymnasium.vector import VectorEnv

from ppo.config import Config
from ppo.envs import lines_of, time_limit
from ppo.envs.text_env import begin_training, check_rewarded
from ppo.errors import UsageError
from ppo.loop.assemble import assemble
from ppo.loop.checks import check_alike, check_decisions
from ppo.loop.episodes import Episode
from ppo.loop.prepare import prepare
from ppo.loop.scalars import evaluate, goal_of, scalars
from ppo.machine.distributed import from_first, gathered, rank
from ppo.machine.imports import only_trusted, trusting
from ppo.machine.process import Stop, Stopped, seed_everything, stop_signals
from ppo.run.checkpoint import checkpoint_path, forensics, read_checkpoint, write_checkpoint
from ppo.run.files import new_folder
from ppo.run.logger import Logger, Progress, open_logger

EVALUATION_SEED = 1_000_003  # added to the run's seed, so that no training episode is played again


class Trainer:
    """Train a policy as `config` says. As a context manager it closes its environments at the end.

    Args:
        config: the settings; `ppo.config.presets.preset` returns those of an environment.
        envs: a VectorEnv of your own instead of `config.env_id`'s; it sets `num_envs`.
        checkpoint: go on from this checkpoint; `Trainer.resume` finds it and its settings.
        trust: import the modules that `init_from` and `reference` name, even if other people made them.

    Raises:
        UsageError: a setting, a space or an environment cannot be trained; raised before anything is written.
    """

    def __init__(
        self, config: Config, envs: VectorEnv | None = None, *, checkpoint: Path | None = None, trust: bool = False
    ) -> None:
        # An environment may change the current folder.
        self.runs_dir, checkpoint = config.runs_dir.absolute(), checkpoint and checkpoint.absolute()
        with trusting(trust):
            self.parts = assemble(config, envs, fresh=checkpoint is None)
        self.config, self.envs, self.policy = self.parts.config, self.parts.envs, self.parts.policy
        self.collector, self.learner, self.reference = self.parts.collector, self.parts.learner, self.parts.reference
        self.best = self.parts.best
        self.iteration, self.global_step, self.best_return = 0, 0, -math.inf
        self.reached = ""  # why the run ended before its budget, if it did
        self.evaluation: list[Episode] = []  # the latest
        self.run_dir: Path | None = None
        self.told_to_stop = Event()  # by a signal or by `stop`
        with self.parts.closed_on_error():
            self.goal = goal_of(self.parts)
            if checkpoint is not None:
                self._restore(checkpoint)

    @property
    def checkpoint_every(self) -> int:
        """Iterations between checkpoints; by default a tenth of the run, but at least two of the longest episodes."""
        config = self.config
        tenth = math.ceil(config.total_timesteps / config.batch_size / 10)
        return config.checkpoint_every or max(tenth, math.ceil(2 * time_limit(self.envs) / config.num_steps))

    @property
    def finished(self) -> bool:
        """Whether the run has reached `stop_at`, or another rollout would exceed the budget."""
        return bool(self.reached) or self.global_step + self.config.batch_size > self.config.total_timesteps

    def train(self, report: Callable[[Progress], None] = lambda progress: None) -> Path:
        """Train until the budget is spent or the process is told to stop, and return the run's folder.

        Args:
            report: called after each iteration.

        Raises:
            UsageError: nothing is rewarded.
            NonFiniteError: see `ppo.errors`; the last checkpoint stays, the numbers are in `nonfinite.safetensors`.
        """
        for progress in self.iterations():
            report(progress)
        return self.run_dir or self.open_run()

    def iterations(self) -> Iterator[Progress]:
        """Train, and yield after each iteration; in between, look at or change what you like.

        `stop()` ends the run there with a checkpoint, as Ctrl-C does; `break` leaves it at its last checkpoint. See `train`.
        """
        check_rewarded(self.envs, self.config.env_id, self.config.reward)
        begin_training(self.envs)
        run_dir = self.open_run()
        logger = open_logger(run_dir, self.config.to_json(), self.iteration, self.global_step)
        due = self.finished
        with contextlib.closing(logger), forensics(run_dir), stop_signals() as self.told_to_stop:
            stop, reference = self.told_to_stop.is_set, self.reference
            self._begin_segment()
            prepare(self.collector, self.learner, self.config.num_steps)
            with contextlib.suppress(Stopped):
                while not self.finished:
                    rollout, episodes = self.collector.collect_all(self.config.num_steps, stop)
                    spent = self.global_step / self.config.total_timesteps
                    penalized, kl = reference.penalize(rollout, self.policy, spent) if reference else (rollout, {})
                    stats = self.learner.update(penalized, spent, stop)
                    self.policy.update_statistics(rollout.obs, rollout.valid)
                    self.iteration += 1
                    self.global_step += int(rollout.valid.sum())

                    found = self.best.add(rollout, episodes, self.global_step) if self.best else {}
                    row = scalars(self.parts, rollout, episodes, stats) | kl | found
                    due = self._due(row)
                    row |= self._evaluate(due, stop)
                    logger.write(row, self.iteration, self.global_step)
                    if due:
                        self._end_segment(logger, row)
                    yield self._progress(row)
            if not due:
                self._end_segment(logger, {})

    def close(self) -> None:
        """Close the environments, with their worker processes; not a VectorEnv of the caller's."""
        self.parts.close()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def stop(self) -> None:
        """End `iterations` with a checkpoint, as Ctrl-C does."""
        self.told_to_stop.set()

    def open_run(self) -> Path:
        """Return the run's folder, made now if it is new, with the settings in config.json."""
        if self.run_dir is None:
            env = self.config.env_id.rpartition(":")[2].replace("/", "_")
            name = f"{env}__{self.config.exp_name or self.config.algorithm}__s{self.config.seed}"
            folder = new_folder(self.runs_dir, name, self.config.to_json()) if rank() == 0 else self.runs_dir
            self.run_dir = from_first(folder)
        return self.run_dir

    @classmethod
    def resume(
        cls, run_dir: Path | str, settings: dict[str, Any] | None = None, envs: VectorEnv | None = None, trust: bool = False
    ) -> "Trainer":  # fmt: skip
        """Return a trainer that continues from the run's latest checkpoint, bit for bit.

        Args:
            run_dir: the run's folder.
            settings: settings to change, by name; a larger `total_timesteps`, for example.
            envs: the VectorEnv, if the run was trained on one of your own.
            trust: import the modules that the run names, even if another person made it.

        Raises:
            UsageError: the folder is not a run, its checkpoint is damaged or does not fit the environment, or needs trust.
        """
        path = checkpoint_path(Path(run_dir), "latest")
        meta = read_checkpoint(path)[1]
        meta.check_resumable(run_dir, envs is not None)
        before, changes = meta.settings(), settings or {}
        config = dataclasses.replace(before.change(changes), runs_dir=Path(run_dir).parent)
        with only_trusted(run_dir, meta["signed"], changes.values()):
            trainer = cls(config, envs, checkpoint=path, trust=trust)
        trainer.parts.restart([name for name in changes if getattr(config, name) != getattr(before, name)])
        return trainer

    def save(self, finished: bool, evaluated: float = math.nan, made_by: str = "train", scores: Any = None) -> None:
        """Write the latest checkpoint, and the best if its evaluation is the best so far; rank 0 does, for all.

        Args:
            finished: the run has ended; if not, it can be resumed.
            evaluated: mean return of an evaluation; NaN without one.
            made_by: the command: train, pretrain or reward.
            scores: scale of a reward model's scores, JSON values.

        Raises:
            NonFiniteError: a weight, moment or statistic is not finite; the checkpoints stay as they are.
        """
        folder = (self.run_dir or self.open_run()) / "checkpoints"
        best = evaluated > self.best_return  # NaN is never the best
        self.best_return = evaluated if best else self.best_return
        if rank():
            return
        folder.mkdir(exist_ok=True)
        meta = self.parts.describe() | {"made_by": made_by, "finished": finished, "reached": self.reached}
        meta |= {"iteration": self.iteration, "global_step": self.global_step, "scores": scores}
        meta["best_return"] = None if math.isinf(self.best_return) else self.best_return
        names = ["best"] * best + [f"iteration_{self.iteration:06d}"] * self.config.keep_checkpoints
        if self.best is not None:
            self.best.write(folder.parent)
        for name in [*names, "latest"]:  # the latest last, because it records the best return
            write_checkpoint(folder / f"{name}.safetensors", self.parts.state_dict(), meta)

    def _restore(self, path: Path) -> None:
        tensors, meta = read_checkpoint(path)
        if meta["spaces"] != self.parts.spaces:
            env_id = self.config.env_id
            raise UsageError(f"{env_id} has other spaces than when {path} was written; use the same environment")
        self.parts.load_state_dict(tensors, path)
        self.run_dir, self.iteration, self.global_step = path.parents[1], meta["iteration"], meta["global_step"]
        self.best_return = -math.inf if meta["best_return"] is None else meta["best_return"]
        self.reached = meta.reached(self.config.stop_at)

    def _begin_segment(self) -> None:
        """Begin new episodes with every generator and environment seeded from (seed, iteration).

        This happens at the start and after each checkpoint. So the running job and one that resumes there continue alike,
        and no random state and no simulator needs to be on disk.
        """
        check_alike(self.parts)
        self.collector.reset(seed_everything(self.config.seed, (0, self.iteration)))

    def _end_segment(self, logger: Logger, row: dict[str, float]) -> None:
        """Write a checkpoint, which cuts the episodes under way, and begin new ones; the row is the last one."""
        self._look(row)
        logger.write_text("samples", [*itertools.chain(*gathered(lines_of(self.envs)))], self.global_step)
        logger.write_text("best", self.best.render() if self.best else [], self.global_step)
        logger.flush()
        self.save(self.finished, row.get("eval/episodic_return", math.nan))
        self._begin_segment()

    def _progress(self, row: dict[str, float]) -> Progress:
        return Progress(row, self.iteration, self.global_step, self.config.total_timesteps, self.parts.notes())

    def _due(self, row: dict[str, float]) -> bool:
        """Return whether a checkpoint is due: it is time, or the run ends here."""
        self._look(row)
        due = self.iteration % self.checkpoint_every == 0 or self.finished
        if due:
            check_decisions(self.parts, self.iteration, self.global_step)
        return due

    def _look(self, row: dict[str, float]) -> None:
        """Note that the run has reached its goal; rank 0 decides, since seconds differ between the ranks."""
        self.reached = self.reached or (from_first(self.goal.reached(row)) if self.goal else "")

    def _evaluate(self, due: bool, stop: Stop) -> dict[str, float]:
        """Evaluate if a checkpoint is due, and return the scalars."""
        episodes, seed = self.config.eval_episodes if due else 0, self.config.seed + EVALUATION_SEED
        played, row = evaluate(self.parts, episodes, seed, stop)
        self.evaluation = played or self.evaluation
        return row
