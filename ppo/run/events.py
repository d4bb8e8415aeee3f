"""TensorBoard events: a file of records, written at once and under a name that comes after all earlier ones."""

import contextlib
import os
import re
import secrets
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

STAMP = re.compile(r"events\.out\.tfevents\.(\d+)")


class Events:
    """Write a new event file.

    TensorBoard's own writer has a thread, which a full disk ends with a traceback, and names files by the clock, which may
    have been set back: readers take the files in the order of their names.

    Args:
        folder: the run's folder.
        first_step: events of earlier files from this step on no longer count; 0: all count.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        stamps = (STAMP.match(path.name) for path in folder.iterdir())
        stamp = max([int(time.time()), *(int(match[1]) + 1 for match in stamps if match)])
        name = f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        self.file = (folder / name).open("xb")
        self.records = RecordWriter(self.file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if first_step:
            self._write(Event(wall_time=time.time(), step=first_step, session_log=SessionLog(status=SessionLog.START)))
        self.file.flush()

    def add(self, summary: Summary, step: int | None = None) -> None:
        """Add a summary at a global step."""
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        self.records.write(event.SerializeToString())

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self.file.flush()

    def close(self) -> None:
        """Close the file; `flush` has reported what a full disk did not take."""
        with contextlib.suppress(OSError):
            self.file.close()
