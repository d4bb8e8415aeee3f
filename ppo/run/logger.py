"""The logger: one row per iteration, to progress.csv and to TensorBoard, at global_step."""

import contextlib
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from ppo.errors import UsageError
from ppo.run.files import write_atomically


class Logger:
    """Write rows of scalars to a run folder. NaN means that there was nothing to measure, and is left out.

    Args:
        run_dir: the run's folder.
        settings: the configuration, written as a table and as HParams when the run is new.
        iteration: keep rows up to this iteration; later ones (of a run that died) are dropped.
        global_step: the same for TensorBoard's events.
    """

    def __init__(self, run_dir: Path, settings: dict[str, Any], iteration: int = 0, global_step: int = 0) -> None:
        self.path = run_dir / "progress.csv"
        self.names = _keep_rows(self.path, iteration)
        try:
            self.writer = SummaryWriter(str(run_dir), purge_step=global_step + 1 if iteration else None)
        except OSError as error:
            raise UsageError(f"cannot write to {run_dir}: {error.strerror}") from error
        if iteration == 0:
            table = "\n".join(f"|{name}|{value}|" for name, value in settings.items())
            self.writer.add_text("config", f"|setting|value|\n|-|-|\n{table}")
            plain = {name: v if isinstance(v, bool | int | float | str) else str(v) for name, v in settings.items()}
            for summary in hparams(plain, {"charts/episodic_return": 0.0, "eval/episodic_return": 0.0}):
                self._add(summary)

    def write(self, row: dict[str, float], iteration: int, global_step: int) -> None:
        """Write one row; its names are TensorBoard's tags.

        Raises:
            UsageError: the disk is full, or the folder can no longer be written.
        """
        cells = {name: "" if math.isnan(value) else repr(value) for name, value in row.items()}
        cells |= {"iteration": str(iteration), "global_step": str(global_step)}
        new = [name for name in cells if name not in self.names]
        if self.names and new:  # the run began with another version, or without a setting that adds a column
            self.names = _add_columns(self.path, new)
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                if not self.names:
                    self.names = ["iteration", "global_step", *row]
                    csv.writer(file).writerow(self.names)
                csv.DictWriter(file, self.names).writerow(cells)
            finite = [(name, value) for name, value in row.items() if not math.isnan(value)]
            values = [Summary.Value(tag=name, simple_value=value) for name, value in finite]
            self._add(Summary(value=values), global_step)  # one event: the writer's thread costs time for each
        except OSError as error:
            raise UsageError(f"cannot write {self.path.parent}: {error.strerror}; make room and resume") from error

    def write_text(self, tag: str, lines: Sequence[str], global_step: int) -> None:
        """Write lines of text to TensorBoard, verbatim; nothing if there are none."""
        if lines:
            self.writer.add_text(tag, "\n".join(f"    {line}" for line in lines), global_step)

    def _add(self, summary: Summary, global_step: int | None = None) -> None:
        assert self.writer.file_writer is not None
        self.writer.file_writer.add_summary(summary, global_step)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        try:
            self.writer.flush()
        except OSError as error:
            raise UsageError(f"cannot write {self.path.parent}: {error.strerror}; make room and resume") from error

    def close(self) -> None:
        """Close TensorBoard's file."""
        with contextlib.suppress(OSError):  # `write` or `flush` has reported it
            self.writer.close()


def _keep_rows(path: Path, iteration: int) -> list[str]:
    """Drop the rows after `iteration` from the file at path, if there is one, and return its column names."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if not header:
        path.unlink()
        return []
    rest = io.StringIO(newline="")
    csv.writer(rest).writerows([header] + [row for row in rows if len(row) == len(header) and int(row[0]) <= iteration])
    write_atomically(path, rest.getvalue().encode())
    return header


def _add_columns(path: Path, names: list[str]) -> list[str]:
    """Add empty columns to the file at path, and return the names of all columns."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    table = io.StringIO(newline="")
    csv.writer(table).writerows([header + names] + [row + [""] * len(names) for row in rows])
    write_atomically(path, table.getvalue().encode())
    return header + names


@dataclass(frozen=True)
class Progress:
    """An iteration's results; `row` holds the scalars by their TensorBoard tags."""

    row: dict[str, float]
    iteration: int
    global_step: int
    total_timesteps: int
    notes: tuple[str, ...] = ()  # why something is slower than it could be
