"""Trackers: Weights & Biases, MLflow and Trackio receive what TensorBoard does, each in one small class."""

import html
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ppo.errors import UsageError, one_line
from ppo.run.files import write_atomically

PROJECT = "ppo"  # unless an environment variable of the tracker names another


class Tracker(Protocol):
    """A run at a tracker. Opened with the key of an earlier opening, it goes on with that run."""

    key: str

    def write(self, row: dict[str, float], global_step: int) -> None:
        """Send scalars by their TensorBoard tags."""

    def write_text(self, tag: str, text: str, global_step: int) -> None:
        """Send a text, verbatim."""

    def close(self) -> None:
        """Send the rest, and end the run."""


class WandB:
    """Weights & Biases. WANDB_PROJECT, WANDB_MODE=offline and the others of its variables apply; its files are in the run's folder."""

    def __init__(self, run_dir: Path, settings: dict[str, Any], key: str) -> None:
        import wandb

        self.html = wandb.Html
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=run_dir.name, config=settings, dir=str(run_dir),
            id=key or None, resume="allow" if key else None, settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
        self.run.define_metric("*", step_metric="global_step")
        self.key = self.run.id

    def write(self, row: dict[str, float], global_step: int) -> None:
        """Send scalars against `global_step`; W&B's own step counts the rows."""
        self.run.log(row | {"global_step": global_step})

    def write_text(self, tag: str, text: str, global_step: int) -> None:
        """Send a text as a page."""
        self.run.log({tag: self.html(f"<pre>{html.escape(text)}</pre>"), "global_step": global_step})

    def close(self) -> None:
        """End the run."""
        self.run.finish()


class MLflow:
    """MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME apply."""

    def __init__(self, run_dir: Path, settings: dict[str, Any], key: str) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self.metric, self.client = Metric, MlflowClient()
        if key:
            self.key = key
            self.client.update_run(key, "RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self.client.create_experiment(name)
        self.key = self.client.create_run(experiment, run_name=run_dir.name).info.run_id
        params = [Param(name, str(value)[:6000]) for name, value in settings.items()]
        for start in range(0, len(params), 100):  # 100 parameters of 6,000 characters are its limits
            self.client.log_batch(self.key, params=params[start : start + 100])

    def write(self, row: dict[str, float], global_step: int) -> None:
        """Send scalars."""
        now = int(1000 * time.time())
        self.client.log_batch(self.key, [self.metric(tag, value, now, global_step) for tag, value in row.items()])

    def write_text(self, tag: str, text: str, global_step: int) -> None:
        """Send a text as a file."""
        self.client.log_text(self.key, text, f"{tag}/{global_step}.txt")

    def close(self) -> None:
        """End the run."""
        self.client.set_terminated(self.key)


class Trackio:
    """Trackio. TRACKIO_PROJECT names the project; TRACKIO_DIR and TRACKIO_SPACE_ID say where it is."""

    def __init__(self, run_dir: Path, settings: dict[str, Any], key: str) -> None:
        import trackio

        self.key, self.markdown = key or f"{run_dir.name}-{os.urandom(3).hex()}", trackio.Markdown
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self.run = trackio.init(project, self.key, config=settings, resume="allow", embed=False, auto_log_gpu=False)

    def write(self, row: dict[str, float], global_step: int) -> None:
        """Send scalars."""
        self.run.log(row, global_step)

    def write_text(self, tag: str, text: str, global_step: int) -> None:
        """Send a text."""
        self.run.log({tag: self.markdown(f"```text\n{text}\n```")}, global_step)

    def close(self) -> None:
        """End the run."""
        self.run.finish()


TRACKERS: dict[str, Callable[[Path, dict[str, Any], str], Tracker]] = {
    "wandb": WandB, "mlflow": MLflow, "trackio": Trackio,
}  # fmt: skip


def check_tracker(name: str) -> None:
    """Raise a UsageError if a tracker's package is not installed; "none" needs none."""
    if name != "none" and importlib.util.find_spec(name) is None:
        raise UsageError(f"track = {name!r} needs a package that is not installed; pip install {name}")


def open_tracker(name: str, run_dir: Path, settings: dict[str, Any], new: bool) -> Tracker | None:
    """Return a run at a tracker, or None for "none". It goes on with the run whose key is in tracker.json.

    Args:
        name: a key of TRACKERS, or "none".
        run_dir: the run's folder.
        settings: the configuration.
        new: the run begins, so what tracker.json says is of a run that died before its first checkpoint.

    Raises:
        UsageError: the tracker refuses, for example without an account or a server.
    """
    if name == "none":
        return None
    path = run_dir / "tracker.json"
    keys = json.loads(path.read_text()) if path.is_file() and not new else {}
    try:
        tracker = TRACKERS[name](run_dir, settings, keys.get(name, ""))
    except Exception as error:  # its package has many types
        raise UsageError(
            f"{name} does not open a run: {one_line(error).rstrip('.')}; check its settings, or leave out --track"
        ) from error
    write_atomically(path, json.dumps(keys | {name: tracker.key}).encode())
    return tracker
