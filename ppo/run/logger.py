"""The logger: it opens a run for writing and adds one row per iteration to progress.csv, TensorBoard's events and a tracker."""

import contextlib
import csv
import errno
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams, text

from ppo.errors import UsageError, one_line, printable
from ppo.machine.distributed import rank
from ppo.run.checkpoint import check_newest
from ppo.run.events import Events
from ppo.run.files import (
    cannot_write,
    check_name,
    check_plain,
    open_to_append,
    remove_temporary,
    shown,
    write_settings,
)
from ppo.run.lock import RunLock
from ppo.run.table import keep_rows, widen
from ppo.run.tracker import Tracker, open_tracker


class Logger:
    """Open a run folder for writing, and write rows of scalars to it. NaN, which means unmeasured, is left out.

    It holds the run's lock until `close`, removes what a killed process left half written, and writes config.json.

    Args:
        run_dir: the run's folder.
        settings: the configuration, written as JSON, and when the run is new as a table and as HParams.
        iteration: keep rows up to this iteration; later ones (of a run that died) are dropped.
        global_step: the same for TensorBoard's events.

    Raises:
        UsageError: another process writes to the run or has trained it further, or the folder cannot be written.
    """

    def __init__(self, run_dir: Path, settings: dict[str, Any], iteration: int = 0, global_step: int = 0) -> None:
        check_name(run_dir)
        self.path, checkpoints = run_dir / "progress.csv", run_dir / "checkpoints"
        with contextlib.ExitStack() as stack:
            lock = RunLock(run_dir)
            stack.callback(lock.release)
            check_newest(run_dir, iteration)
            check_plain(self.path)
            check_plain(checkpoints, folder=True)
            write_settings(run_dir, settings)
            try:
                checkpoints.mkdir(exist_ok=True)
                if not os.access(checkpoints, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                for folder in (run_dir, checkpoints):
                    remove_temporary(folder)
                self.names = keep_rows(self.path, iteration)
                self.events = Events(run_dir, global_step + 1 if iteration else 0)
                stack.callback(self.events.close)
                if iteration == 0:
                    self._describe(settings)
            except OSError as error:
                raise cannot_write(run_dir, error) from error
            self.tracker = open_tracker(settings.get("track", "none"), run_dir, settings, iteration == 0)
            self.stack = stack.pop_all()

    def _describe(self, settings: dict[str, Any]) -> None:
        table = "\n".join(f"|{name}|{printable(str(value))}|" for name, value in settings.items())
        self.events.add(text("config", f"|setting|value|\n|-|-|\n{table}"))
        plain = {n: v if isinstance(v, bool | int | float) else printable(str(v)) for n, v in settings.items()}
        for summary in hparams(plain, {"charts/episodic_return": 0.0, "eval/episodic_return": 0.0}):
            self.events.add(summary)

    def write(self, row: dict[str, float], iteration: int, global_step: int) -> None:
        """Write one row; its names are TensorBoard's tags.

        Raises:
            UsageError: the disk is full, or the folder can no longer be written.
        """
        cells = {"iteration": str(iteration), "global_step": str(global_step)}
        cells |= {name: "" if math.isnan(value) else repr(value) for name, value in row.items()}
        new = [name for name in cells if name not in self.names]
        try:
            if new and self.names:  # an older version began the run
                widen(self.path, new)
            self.names += new
            with open_to_append(self.path) as file:
                writer = csv.DictWriter(file, self.names)
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(cells)
            finite = [(name, value) for name, value in row.items() if not math.isnan(value)]
            values = [Summary.Value(tag=name, simple_value=value) for name, value in finite]
            self.events.add(Summary(value=values), global_step)
        except OSError as error:
            raise self._stopped(error) from error
        self.flush()
        self._track(lambda tracker: tracker.write(dict(finite), global_step))

    def _track(self, send: Callable[[Tracker], None]) -> None:
        """Send to the tracker; one that fails, for example without a network, is warned of once and left out from then on."""
        try:
            if self.tracker is not None:
                send(self.tracker)
        except Exception as error:  # its package has many types
            self.tracker = None
            warnings.warn(
                f"the tracker fails ({one_line(error)}) and gets no more rows; {shown(self.path)} has all of them",
                stacklevel=3,
            )

    def write_text(self, tag: str, lines: Sequence[str], global_step: int) -> None:
        """Write lines of text to TensorBoard, verbatim; nothing if there are none."""
        if lines:
            printed = [printable(line) for line in lines]
            self.events.add(text(tag, "\n".join(f"    {line}" for line in printed)), global_step)
            self._track(lambda tracker: tracker.write_text(tag, "\n".join(printed), global_step))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        try:
            self.events.flush()
        except OSError as error:
            raise self._stopped(error) from error

    def _stopped(self, error: OSError) -> UsageError:
        return UsageError(f"cannot write {shown(self.path.parent)}: {error.strerror}; make room and resume")

    def close(self) -> None:
        """Close TensorBoard's file and the tracker's run, and let others write to the run."""
        self._track(lambda tracker: tracker.close())
        self.stack.close()


class NullLogger(Logger):
    """The logger of a rank that leaves writing to rank 0."""

    def __init__(self) -> None:
        pass

    def write(self, row: dict[str, float], iteration: int, global_step: int) -> None:
        """Write nothing."""

    def write_text(self, tag: str, lines: Sequence[str], global_step: int) -> None:
        """Write nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def open_logger(run_dir: Path, settings: dict[str, Any], iteration: int = 0, global_step: int = 0) -> Logger:
    """Return this rank's logger of a run; its arguments are those of `Logger`."""
    return NullLogger() if rank() else Logger(run_dir, settings, iteration, global_step)


@dataclass(frozen=True)
class Progress:
    """An iteration's results; `row` holds the scalars by their TensorBoard tags."""

    row: dict[str, float]
    iteration: int
    global_step: int
    total_timesteps: int
    notes: tuple[str, ...] = ()  # why something is slower than it could be
