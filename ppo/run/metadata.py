"""A checkpoint's metadata: its fields, and one sentence for each that is missing or wrong."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppo.config import Config
from ppo.errors import UsageError

SCHEMA = 2
LARGEST = 2**63 - 1  # of a counter
MADE_BY = ("train", "pretrain", "reward")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_scale(value: Any) -> bool:
    """Return whether this is the scale of a reward model's scores, or null for a run that has none."""
    is_table = isinstance(value, dict) and value.keys() >= {"mean", "deviation"}
    return value is None or (
        is_table and all(_is_number(value[name]) for name in ("mean", "deviation")) and value["deviation"] > 0
    )


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "config": (lambda value: isinstance(value, dict), "a table of settings"),
    "own_envs": (lambda value: isinstance(value, bool), "true or false"),
    "made_by": (lambda value: value in MADE_BY, f"one of {', '.join(MADE_BY)}"),
    "finished": (lambda value: isinstance(value, bool), "true or false"),
    "reached": (lambda value: isinstance(value, str), "a text"),
    "policy": (lambda value: isinstance(value, str), "a name"),
    "spaces": (lambda value: isinstance(value, dict), "a table of spaces"),
    "iteration": (_is_count, "a whole number from 0"),
    "global_step": (_is_count, "a whole number from 0"),
    "best_return": (lambda value: value is None or _is_number(value), "a number or null"),
    "scores": (_is_scale, "a mean and a positive deviation, or null"),
}


class Metadata(dict[str, Any]):
    """The metadata of a checkpoint by name; a field that is missing is a UsageError.

    Args:
        fields: as read.
        source: the file, for the error.

    Raises:
        UsageError: a field has another type or is out of range.
    """

    def __init__(self, fields: dict[str, Any], source: str) -> None:
        super().__init__(fields)
        self.source = source
        for name, (is_right, kind) in FIELDS.items():
            if name in fields and not is_right(fields[name]):
                raise UsageError(f"{source} is damaged: its field {name} = {fields[name]!r:.60} is not {kind}")

    def __missing__(self, name: str) -> Any:
        raise UsageError(f"{self.source} is damaged: it has no field {name}; use another checkpoint")

    def reached(self, stop_at: str) -> str:
        """Return why the run ended before its budget; "" if it did not, or had another `stop_at`."""
        reached: str = self.get("reached", "")  # older files have none
        return reached if self["config"].get("stop_at") == stop_at else ""

    def check_resumable(self, run_dir: Path | str, has_envs: bool) -> None:
        """Refuse to resume what `ppo train` did not make, or cannot make again.

        Args:
            run_dir: the run's folder, for the error.
            has_envs: the caller has a VectorEnv.

        Raises:
            UsageError: says how to go on instead.
        """
        if self["own_envs"] and not has_envs:
            raise UsageError(f"{run_dir} was trained on a VectorEnv of your own; resume it from Python, with envs=")
        if self["made_by"] != "train":
            raise UsageError(f"{run_dir} was made by `ppo {self['made_by']}`; train from it: --init-from {run_dir}")

    def settings(self) -> Config:
        """Return the settings of the run.

        Raises:
            UsageError: a setting is unknown, has another type or is out of range.
        """
        config = Config().replace(self["config"], self.source)
        try:
            config.validate()
        except UsageError as error:
            raise UsageError(f"{self.source}: {error}") from error
        return config


def from_schema_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that today's version would have written.

    Raises:
        KeyError: a field is missing.
        TypeError: a field has another type.
    """
    config, learnt = fields["config"], fields.pop("supervised", "")
    spent = fields["global_step"] + config["num_envs"] * config["num_steps"] > config["total_timesteps"]
    return fields | {
        "schema": SCHEMA,
        "own_envs": fields.pop("given_envs", False),
        "made_by": {"": "train", "ratings": "reward"}.get(learnt, "pretrain"),
        "finished": learnt != "stopped" if learnt else spent,
    }
