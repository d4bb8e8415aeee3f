"""The study: trials that train with different settings, and keep the ones that earn most.

Optuna chooses the settings (TPE; Bergstra et al. 2011), stops poor trials early (median pruner) and stores the results, so that
several processes, on one machine or on many, work on the same study. A trial's runs are ordinary run folders: a trial that was
interrupted goes on from their checkpoints.
"""

import contextlib
import csv
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from ppo.config import Config
from ppo.errors import NonFiniteError, UsageError, one_line
from ppo.loop.trainer import Trainer
from ppo.tuning.space import Space, words

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT, GRACE = 20, 120  # seconds; after 120 without a heartbeat, another process begins a trial again
WAIT = 5  # seconds between two looks at the trials of other processes
PAUSES = 0.2, 1.0  # seconds before a database is opened again
TENTHS = 10  # of a run, at which a trial reports
STARTUP = 5  # trials before any is stopped early


@contextlib.contextmanager
def heartbeats() -> Iterator[None]:
    """Use Optuna's heartbeats, which it has called experimental since version 2, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


with heartbeats():
    RETRY = RetryHeartbeatStaleTrialCallback(max_retry=10)  # queues an interrupted trial again

Tell = Callable[[str], None]  # of a line on a trial's progress


@dataclass(frozen=True)
class Study:
    """What is tuned, and where.

    Attributes:
        base: the settings without tuning, those of the first trial.
        space: the settings that vary.
        metric: a scalar that a run logs; a run's score is its last value.
        seeds: of the runs of each trial, whose mean score is the trial's.
        folder: of the runs and results.
        storage: URL of Optuna's database.
    """

    base: Config
    space: Space
    metric: str
    seeds: tuple[int, ...]
    folder: Path
    storage: str

    def open(self) -> optuna.Study:
        """Open the study in the database, or create it with the base settings as its first trial.

        Raises:
            UsageError: the database cannot be opened, or the study in it has another space.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = self._create(PAUSES)
        except Exception as error:  # of the database's driver
            raise UsageError(
                f"cannot open the database {self.storage}: {one_line(error)}; give a URL such as sqlite:///study.db or "
                "postgresql://HOST/DB, and install its driver"
            ) from error
        known, own = study.user_attrs.get("study"), self.description
        if known is None:  # later processes draw at random, so that no two draw alike
            study.sampler = optuna.samplers.TPESampler(seed=self.base.seed, multivariate=True)
            study.set_user_attr("study", own)
            study.enqueue_trial({name: dimension.parameter for name, dimension in self.space.items()})
        elif known != own:
            raise UsageError(
                f"the study {self.folder.name} {_difference(known, own)}; continue it with the same, or begin another: --name"
            )
        return study

    def _create(self, pauses: tuple[float, ...]) -> optuna.Study:
        """Open the study in the database, or create it; again after each pause, since processes that begin together clash."""
        try:
            with heartbeats():
                storage = RDBStorage(
                    self.storage, heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=RETRY
                )
            return optuna.create_study(
                storage=storage, study_name=self.folder.name, direction="maximize", load_if_exists=True,
                sampler=optuna.samplers.TPESampler(multivariate=True),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
            )  # fmt: skip
        except (DBAPIError, StorageInternalError):
            if not pauses:
                raise
            time.sleep(pauses[0])
            return self._create(pauses[1:])

    @property
    def description(self) -> dict[str, Any]:
        """What all trials share."""
        base = {name: value for name, value in self.base.to_json().items() if name not in self.space}
        return base | {
            "metric": self.metric, "seeds": list(self.seeds), "space": {name: repr(x) for name, x in self.space.items()},
        }  # fmt: skip

    def is_untuned(self, trial: FrozenTrial) -> bool:
        """Return whether a trial has the settings without tuning."""
        return trial.params == {name: dimension.parameter for name, dimension in self.space.items()}

    def settings(self, trial: FrozenTrial | optuna.Trial) -> dict[str, Any]:
        """Return the settings of a trial."""
        return {name: dimension.suggest(trial, name) for name, dimension in self.space.items()}

    def run(self, study: optuna.Study, trials: int, hours: float, tell: Tell) -> bool:
        """Run trials until the study has this many and none is under way in another process, or the hours are over.

        Returns:
            Whether this process is the one that concludes: it ended the last trial, or found all of them ended.

        Raises:
            KeyboardInterrupt: told to stop; the trial under way is the next one that this study runs.
        """

        def ended(study: optuna.Study, trial: FrozenTrial) -> None:
            own.append(trial.number)
            score = f"{trial.value:.6g}" if trial.state is TrialState.COMPLETE else trial.user_attrs["why"]
            tell(f"trial {trial.number}: {score}; {words(self.settings(trial))}")

        def objective(trial: optuna.Trial) -> float:
            try:
                return self.score(trial)
            except KeyboardInterrupt:
                RETRY(study, study.trials[trial.number])
                raise

        own, end = list[int](), time.monotonic() + 3600 * hours if hours else math.inf
        while True:
            states = [trial.state for trial in study.get_trials(deepcopy=False)]
            done, running = (sum(state in wanted for state in states) for wanted in (ENDED, (TrialState.RUNNING,)))
            if done + running < trials and time.monotonic() < end:
                study.optimize(objective, n_trials=1, callbacks=[ended])
            elif running:  # elsewhere, or its process was killed
                time.sleep(WAIT)
                with heartbeats():
                    optuna.storages.fail_stale_trials(study)
            else:
                break
        complete = [
            (trial.datetime_complete, trial.number)
            for trial in study.get_trials(deepcopy=False)
            if trial.datetime_complete and trial.state in ENDED
        ]
        return not own or max(complete)[1] in own

    def score(self, trial: optuna.Trial) -> float:
        """Train the runs of a trial and return their mean score.

        Raises:
            optuna.TrialPruned: the trial is stopped early, or cannot be trained with its settings.
            KeyboardInterrupt: told to stop.
        """
        frozen = trial.study.trials[trial.number]
        name = f"trial{frozen.system_attrs.get('failed_trial', trial.number)}"  # of one that is tried again, the first

        def report(seed: int, share: float, score: float) -> None:
            step = TENTHS * self.seeds.index(seed) + round(TENTHS * share)
            trial.report(score, step)
            if step < TENTHS * len(self.seeds) and trial.should_prune():
                trial.set_user_attr("why", f"{score:.6g} after {step / TENTHS / len(self.seeds):.0%}, stopped")
                raise optuna.TrialPruned

        try:
            config = self.base.replace(self.settings(trial))
            return statistics.fmean(self.train(config, name, seed, report) for seed in self.seeds)
        except (UsageError, NonFiniteError) as error:
            trial.set_user_attr("why", f"not trained: {error}")
            raise optuna.TrialPruned from error

    def train(
        self, config: Config, name: str, seed: int, report: Callable[[int, float, float], None] = lambda *_: None
    ) -> float:
        """Train a run, or go on with it, and return its score.

        Args:
            config: its settings.
            name: of its folder, with the seed.
            seed: of the run.
            report: called at each tenth of the run with the seed, the share of the run, and the score so far.

        Raises:
            UsageError: the settings do not fit together, or the run never measures the metric.
            KeyboardInterrupt: told to stop.
        """
        config = config.replace({"runs_dir": str(self.folder), "exp_name": name, "seed": seed})
        # A run that was killed before its first checkpoint leaves a folder without one, and the next has a number more.
        ends = (f"*__{name}__s{seed}{more}/checkpoints/latest.safetensors" for more in ("", "__*"))
        runs = [path for end in ends for path in self.folder.glob(end)]
        score, told = math.nan, 0
        with Trainer.resume(runs[0].parents[1]) if runs else Trainer(config) as trainer:
            if runs:
                score = last(runs[0].parents[1] / "progress.csv", self.metric, trainer.iteration)
            for progress in () if trainer.finished else trainer.iterations():
                value = progress.row.get(self.metric, math.nan)
                score = score if math.isnan(value) else value
                share = progress.global_step / progress.total_timesteps
                if int(TENTHS * share) > told and not math.isnan(score):
                    told = int(TENTHS * share)
                    report(seed, told / TENTHS, score)
            if not trainer.finished:
                raise KeyboardInterrupt
        if math.isnan(score):
            raise UsageError(f"the run never measured {self.metric}; train longer")
        return score


def _difference(known: dict[str, Any], own: dict[str, Any]) -> str:
    """Return in words what distinguishes a study in the database from this one."""
    spaces = known.get("space", {}), own["space"]
    if spaces[0] != spaces[1]:
        names = [name for name in spaces[0] | spaces[1] if spaces[0].get(name) != spaces[1].get(name)]
        return f"has another search space (it differs in {', '.join(names)})"
    changed = next(key for key in own if known.get(key) != own[key])
    if changed == "seeds":
        return f"has runs with the seeds {known.get(changed)}, not {own[changed]} (--seed and --trial-seeds)"
    return f"has {changed} = {known.get(changed)}, not {own[changed]}"


def last(table: Path, metric: str, iteration: int) -> float:
    """Return the last value of a metric in a progress.csv up to an iteration, NaN if there is none."""
    with table.open(newline="", encoding="utf-8") as file:
        values = [row[metric] for row in csv.DictReader(file) if row.get(metric) and int(row["iteration"]) <= iteration]
    return float(values[-1]) if values else math.nan
