"""The search space: which settings vary between trials, and over which values."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ppo.config import Config
from ppo.config.goal import Goal
from ppo.config.values import plain, read_toml
from ppo.errors import UsageError
from ppo.loop.scalars import tags
from ppo.loop.trainer import Trainer
from ppo.policies import resolve_policy

HERE = Path(__file__).parent
KEYS = {"low", "high", "log"}
OWN = {"env_id", "seed", "runs_dir", "exp_name", "total_timesteps"}  # the same in all trials


class Trial(Protocol):
    """What a dimension needs of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of the choices."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number."""


@dataclass(frozen=True)
class Choice:
    """Values to choose from; `default` is the preset's, and one of them."""

    values: tuple[Any, ...]
    default: Any

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return the value of a trial."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.values]))

    @property
    def parameter(self) -> Any:
        """The default as a trial's parameter."""
        return json.dumps(self.default)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, whole if both are; `default` is the preset's."""

    low: float
    high: float
    log: bool
    default: float

    def suggest(self, trial: Trial, name: str) -> float:
        """Return the value of a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    @property
    def parameter(self) -> float:
        """The default as a trial's parameter."""
        return self.default


Space = Mapping[str, Choice | Range]


def read_space(path: Path | None, base: Config, kind: str) -> Space:
    """Return the dimensions by setting; the value of the base settings is always among them.

    Args:
        path: TOML file; `name = [value, …]`, or `name = {low = …, high = …, log = true}`. None: the one of the package.
        base: the settings of the first trial.
        kind: "control", "pixels" or "text", which chooses the file of the package.

    Raises:
        UsageError: the file cannot be read, or a line does not describe values of a setting.
    """
    source = path or HERE / f"{kind}.toml"
    table, defaults = read_toml(source), plain(vars(base))
    if not table:
        raise UsageError(f"{source} names no setting; give at least one, for example gamma = [0.99, 0.995]")
    return {name: _dimension(name, entry, defaults, base, str(source)) for name, entry in table.items()}


def _dimension(name: str, entry: Any, defaults: dict[str, Any], base: Config, source: str) -> Choice | Range:
    if name in OWN:
        raise UsageError(f"{name} in {source} is the same in all trials; give it as a flag")
    if isinstance(entry, list) and entry:
        values = tuple(_read(base, name, value, source) for value in entry)
        default = defaults[name]
        return Choice(values if default in values else (default, *values), default)
    if problem := _range_problem(entry):
        raise UsageError(
            f"{name} = {entry!r} in {source} does not describe values: {problem}; give a list of them, or a range such as "
            "{low = 1e-5, high = 1e-2, log = true}"
        )
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    for value in (low, high):
        _read(base, name, value, source)
    default = defaults[name]
    default = _number(default) if isinstance(default, str) else default
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise UsageError(
            f"{name} is {defaults[name]!r} without tuning, which lies in no range; give a list of values in {source}"
        )
    if log and default <= 0:
        raise UsageError(
            f"{name} is {default} without tuning, which has no logarithm; give a list of values in {source}"
        )
    return Range(min(low, default), max(high, default), log, default)


def _read(base: Config, name: str, value: Any, source: str) -> Any:
    """Return a value as config.json has it, so that each has one spelling; raises as `Config.replace`."""
    return plain(vars(base.replace({name: value}, source)))[name]


def _range_problem(entry: Any) -> str:
    """Return why an entry is not a range; "" if it is one."""
    if not isinstance(entry, dict):
        return "it is an empty list" if entry == [] else "it is one value, which does not vary"
    if missing := [key for key in ("low", "high") if key not in entry]:
        return f"{missing[0]} is missing"
    if unknown := [key for key in entry if key not in KEYS]:
        return f"{unknown[0]} is unknown"
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    if not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in (low, high)):
        return "low and high must be finite numbers"
    if not isinstance(log, bool):
        return "log must be true or false"
    if low >= high:
        return "low is not below high"
    return "low must be positive with log = true" if log and low <= 0 else ""


def _number(text: str) -> float | str:
    """Return the number that a constant schedule is, or the text of another one."""
    try:
        return float(text)
    except ValueError:
        return text


def kind_of(base: Config, metric: str) -> str:
    """Return the kind of the base settings' search space, after checking them and the metric.

    Raises:
        UsageError: they cannot be trained, or the run does not log the metric.
    """
    if metric.startswith("eval/") and not base.eval_episodes:
        raise UsageError(
            f"metric = {metric} needs evaluations, but eval_episodes = 0; raise it, or choose charts/episodic_return"
        )
    with Trainer(base) as trainer:
        Goal(metric, ">=", 0.0).check(tags(trainer.parts), "metric")
        policy = resolve_policy("auto", trainer.envs)
    return {"gru": "text", "cnn": "pixels"}.get(policy, "control")


def words(settings: dict[str, Any]) -> str:
    """Return settings as a list of names and values."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
