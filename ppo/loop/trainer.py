"""The trainer: the one loop that wires environments, policy, collector, learner and logger together."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from ppo.config import Config
from ppo.envs import check_envs, lines_of, make_envs, time_limit
from ppo.envs.space_json import spaces_of
from ppo.envs.text_env import text_env
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode, averages
from ppo.loop.learner import Learner
from ppo.loop.play import play
from ppo.loop.reference import Reference
from ppo.loop.rollout import Rollout
from ppo.machine.compile import resolve_compile
from ppo.machine.flat import FlatPolicy
from ppo.machine.process import resolve_device, resolve_threads, seed_everything, stopped_by_signal
from ppo.policies import build_policy, resolve_policy
from ppo.run.checkpoint import checkpoint_path, forensics, load_exactly, read_checkpoint, write_checkpoint
from ppo.run.files import new_folder, write_atomically
from ppo.run.load import load_for
from ppo.run.logger import Logger, Progress

RANK = 0
EVALUATION_SEED = 1_000_003  # added to the run's seed, so that no training episode is played again


class Trainer:
    """Train a policy as `config` says.

    Args:
        config: the settings; `ppo.config.presets.preset` gives those of an environment.
        envs: a VectorEnv of your own instead of `config.env_id`'s; it sets `num_envs`.
        fresh: start from `config.init_from`, where it names a run; False for a trainer whose weights come later.

    Raises:
        UsageError: a setting, a space or an environment that cannot be trained, before anything is written.
    """

    def __init__(self, config: Config, envs: VectorEnv | None = None, *, fresh: bool = True) -> None:
        self.own_envs = envs is not None
        if envs is not None:
            name = envs.spec.id if envs.spec is not None else type(envs.unwrapped).__name__
            config = config.replace({"num_envs": int(envs.num_envs), "env_id": name})
        config.validate()
        self.config = config
        if envs is None:
            envs = make_envs(config.env_id, config.num_envs, config.vectorization, config.env_kwargs, config.group_size)
        self.envs = check_envs(envs, config.group_size)
        spaces = self.envs.single_observation_space, self.envs.single_action_space
        self.policy_name = resolve_policy(config.policy, self.envs)
        seed_everything(config.seed)
        policy = build_policy(self.policy_name, *spaces, config.policy_options())
        self.device, self.why_device = resolve_device(config.device, policy)
        self.policy, self.spaces = policy.to(self.device), spaces_of(self.envs)
        flat = FlatPolicy(self.policy, config.precision)
        length, minibatch = config.sequence_length(policy.state_size > 0), config.batch_size // config.num_minibatches
        self.threads, self.why_threads = resolve_threads(config.threads, minibatch // length * len(flat.vector))
        torch.set_num_threads(self.threads)
        self.compiled, self.why_compiled = resolve_compile(config.compile, *config.work(), length)
        if config.init_from and fresh:
            begin = load_for("init_from", config.init_from, self.spaces)
            load_exactly(self.policy, begin.policy.state_dict(), "", Path(config.init_from))
        self.reference = None
        if config.reference:
            whole, adapting = {"top_k": 0, "top_p": 1.0}, (config.kl_coef, config.kl_target, config.kl_horizon)
            kept = load_for("reference", config.reference, self.spaces, temperature=config.temperature, **whole)
            self.reference = Reference(kept.policy.to(self.device), *adapting, kept.meta["sha256"])
        self.learner = Learner(flat, config, self.compiled)
        self.collector = Collector(self.envs, flat, self.compiled, self.learner.seq_len)
        self.iteration, self.global_step = 0, 0
        self.best_return, self.last_evaluation = -math.inf, math.nan
        self.run_dir: Path | None = None
        self.made_by = "train"  # the command: train, pretrain or reward
        self.said: tuple[str, ...] = ()  # notes that were reported
        self.seconds: dict[str, float] = {}  # where the time of `train` went

    @property
    def checkpoint_every(self) -> int:
        """Iterations between checkpoints; by default a tenth of the run, and room for two of the longest episodes."""
        config = self.config
        tenth = config.total_timesteps / config.batch_size / 10
        return config.checkpoint_every or max(math.ceil(tenth), math.ceil(2 * time_limit(self.envs) / config.num_steps))

    @property
    def finished(self) -> bool:
        """Whether another rollout would exceed the budget."""
        return self.global_step + self.config.batch_size > self.config.total_timesteps

    def train(self, report: Callable[[Progress], None] | None = None) -> Path:
        """Train until the budget is spent or the process is told to stop, and return the run's folder.

        Raises:
            UsageError: nothing is rewarded.
            NonFiniteError: see `ppo.errors`; the last checkpoint stays, the numbers are in `nonfinite.safetensors`.
        """
        text = text_env(self.envs)
        if text is not None and not text.rewarded:
            raise UsageError(f"{self.config.env_id} has no reward to learn from; give it one by --env-kwargs reward …")
        run_dir = self.open_run()
        stopped, logger = False, Logger(run_dir, self.config.to_json(), self.iteration, self.global_step)
        self._begin_segment()
        with contextlib.closing(logger), forensics(run_dir), stopped_by_signal() as stop:
            while not (self.finished or stopped):
                rollout, episodes = self.collector.collect(self.config.num_steps)
                docked, kl = self.reference.penalize(rollout, self.policy) if self.reference else (rollout, {})
                stats = self.learner.update(docked, self.global_step / self.config.total_timesteps)
                self.policy.update_statistics(rollout.obs, rollout.valid)
                self.iteration += 1
                self.global_step += int(rollout.valid.sum())

                due = self.iteration % self.checkpoint_every == 0 or self.finished
                if due and self.global_step == 0:  # no later episode would come further
                    raise UsageError("no decision came up before the first checkpoint; raise --checkpoint-every")
                row = self._row(rollout, episodes, stats) | kl | self._evaluate(due)
                logger.write(row, self.iteration, self.global_step)
                stopped = stop.is_set()  # asked once: a signal from here on ends the next iteration
                if due or stopped:
                    logger.write_text("samples", lines_of(self.envs), self.global_step)
                    logger.flush()
                    self.checkpoint(run_dir / "checkpoints", row["eval/episodic_return"], self.finished)
                    self._begin_segment()
                if report is not None:
                    report(Progress(row, self.iteration, self.global_step, self.config.total_timesteps, self._notes()))
        return run_dir

    def open_run(self) -> Path:
        """Return the run's folder, made now if it is new, with the settings as they are in config.json."""
        if self.run_dir is None:
            env = self.config.env_id.rpartition(":")[2].replace("/", "_")
            name = f"{env}__{self.config.exp_name or self.config.algorithm}__s{self.config.seed}"
            self.run_dir = new_folder(self.config.runs_dir, name)
        write_atomically(self.run_dir / "config.json", json.dumps(self.config.to_json(), indent=2).encode())
        return self.run_dir

    @classmethod
    def resume(
        cls, run_dir: str | Path, settings: dict[str, Any] | None = None, envs: VectorEnv | None = None
    ) -> "Trainer":
        """Return a trainer that goes on where the run's latest checkpoint stands, bit for bit.

        Args:
            run_dir: the run's folder.
            settings: settings to change, by name; a larger `total_timesteps`, for example.
            envs: the VectorEnv, where the run was given one.

        Raises:
            UsageError: the folder is no run, its checkpoint is damaged, or it does not fit the environment.
        """
        run_dir = Path(run_dir)
        path = checkpoint_path(run_dir, "latest")
        tensors, meta = read_checkpoint(path)
        if meta["own_envs"] and envs is None:
            raise UsageError(f"{run_dir} was trained on a VectorEnv of your own; resume it from Python, with envs=")
        if meta["made_by"] != "train":
            raise UsageError(f"{run_dir} was not made by `ppo train`; train from it: --init-from {run_dir}")
        config = Config().replace(meta["config"], str(path)).replace(settings or {})
        trainer = cls(dataclasses.replace(config, runs_dir=run_dir.parent), envs, fresh=False)
        trainer.run_dir, trainer.iteration, trainer.global_step = run_dir, meta["iteration"], meta["global_step"]
        trainer.best_return = -math.inf if meta["best_return"] is None else meta["best_return"]
        if meta["spaces"] != trainer.spaces:
            raise UsageError(f"{config.env_id} has other spaces than when {path} was written; use the same environment")
        load_exactly(trainer.policy, tensors, "policy.", path)
        trainer.learner.load_state_dict(tensors)
        if trainer.reference is not None:
            trainer.reference.load_state_dict(tensors)
            if "kl_coef" in (settings or {}):
                trainer.reference.coef.fill_(config.kl_coef)
        return trainer

    def _begin_segment(self) -> None:
        """Begin new episodes with every generator and environment seeded from (seed, rank, iteration).

        It happens at the start and after each checkpoint. The running job and one that resumes there go on alike, and
        no random state and no simulator needs to be on disk.
        """
        self.collector.reset(seed_everything(self.config.seed, (RANK, self.iteration)))

    def _notes(self) -> tuple[str, ...]:
        """Return why something is not compiled that should be, once."""
        parts = {"policy": self.collector.act, "optimizer step": self.learner.step}
        why = [f"the {name} is not compiled: {part.reason}" for name, part in parts.items() if part.reason]
        new = tuple(note for note in why if note not in self.said)
        self.said += new
        return new

    def _row(self, rollout: Rollout, episodes: list[Episode], stats: dict[str, float]) -> dict[str, float]:
        """Return an iteration's scalars by their TensorBoard tags; NaN where there was nothing to measure."""
        clipped = self.policy.head.clipped_fraction(rollout.actions[rollout.valid])
        inference = self.collector.seconds - self.collector.env_seconds
        split = {"environment": self.collector.env_seconds, "inference": inference, "update": self.learner.seconds}
        split |= {"reference": self.reference.seconds} if self.reference else {}
        self.seconds = {name: self.seconds.get(name, 0.0) + value for name, value in split.items()}
        return {
            **averages(episodes, self.collector.metrics, "charts", "episode"),
            "charts/episodes": float(len(episodes)),
            "charts/SPS": float(rollout.valid.sum()) / sum(split.values()),
            "charts/learning_rate": stats.pop("learning_rate"),
            "charts/clipped_actions": math.nan if clipped is None else float(clipped),
            **{f"losses/{name}": value for name, value in stats.items()},
            **{f"time/{name}": value for name, value in split.items()},
        }

    def _evaluate(self, due: bool) -> dict[str, float]:
        """Play deterministic episodes in the training environments, which begin anew afterwards anyway."""
        played = self.config.eval_episodes if due else 0
        try:
            episodes = play(self.collector, played, self.config.seed + EVALUATION_SEED) if played else []
        except NonFiniteError as error:
            raise NonFiniteError(f"while evaluating: {error}", error.tensors) from error
        return averages(episodes, self.collector.metrics, "eval", "eval")

    def checkpoint(self, folder: Path, evaluated: float, finished: bool) -> None:
        """Write the latest checkpoint, and the best if its evaluation is."""
        folder.mkdir(exist_ok=True)
        self.last_evaluation, best = evaluated, evaluated > self.best_return  # NaN, nothing played, is no best
        self.best_return = evaluated if best else self.best_return
        names = ["best"] * best + [f"iteration_{self.iteration:06d}"] * self.config.keep_checkpoints
        for name in [*names, "latest"]:
            write_checkpoint(folder / f"{name}.safetensors", self._tensors(), self._meta(finished))

    def _tensors(self) -> dict[str, torch.Tensor]:
        policy = {f"policy.{name}": x for name, x in self.policy.state_dict().items()}
        return policy | self.learner.state_dict() | (self.reference.state_dict() if self.reference else {})

    def _meta(self, finished: bool) -> dict[str, Any]:
        return {
            "config": self.config.to_json(),
            "own_envs": self.own_envs,
            "made_by": self.made_by,
            "finished": finished,
            "policy": self.policy_name,
            "spaces": self.spaces,
            "iteration": self.iteration,
            "global_step": self.global_step,
            "best_return": None if math.isinf(self.best_return) else self.best_return,
            "versions": {package.__name__: package.__version__ for package in (torch, gymnasium, np)},
        }
