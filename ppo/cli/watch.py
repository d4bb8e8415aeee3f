"""The command that shows a run which goes on elsewhere; it only reads."""

import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ppo.cli.history import Table
from ppo.cli.reporter import Reporter
from ppo.cli.terminal import console
from ppo.config import Config
from ppo.errors import UsageError, one_line
from ppo.run.checkpoint import checkpoint_path, read_checkpoint
from ppo.run.files import shown
from ppo.run.lock import holder
from ppo.run.logger import Progress

INTERVAL = 1.0  # seconds between two looks at the folder


@dataclass(frozen=True)
class Watch:
    """Show a run that goes on elsewhere, until it ends.

    Writes nothing into the run's folder. Ctrl-C ends the watch, not the run.
    """

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    once: bool = False
    """Print one picture and exit."""

    def run(self) -> None:
        """Follow the run."""
        watched = Watched(self.run_dir)
        if self.once:
            for progress in watched.new_rows():
                watched.reporter.history.add(progress.row, progress.global_step)
            watched.report(watched.ended())
            console.print(watched.reporter)
            return
        ended = ""
        while not ended:
            with watched.reporter as reporter:
                while reporter is watched.reporter and not ended:
                    ended = watched.look()
                    time.sleep(0 if ended else INTERVAL)
        console.print(ended, markup=False)


class Watched:
    """A run folder that is watched, and the reporter that shows its rows.

    Args:
        run_dir: the run's folder.

    Raises:
        UsageError: it is not a run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.begin()

    def begin(self) -> None:
        """Read the settings, and the rows from the first one on."""
        self.version = self._version()
        settings = _settings(self.run_dir)
        self.table, self.reporter = Table(self.run_dir / "progress.csv"), Reporter(console, settings, None)

    def _version(self) -> tuple[int, ...]:
        """Return what changes when a resumed run has replaced its settings or its table."""
        paths = (self.run_dir / name for name in ("config.json", "progress.csv"))
        return tuple(path.stat().st_ino if path.exists() else 0 for path in paths)

    def look(self) -> str:
        """Show the new rows and say how the run is; return how it ended, "" if it goes on."""
        ended, version = self.ended(), self._version()
        if version != self.version and 0 not in self.version:
            self.begin()
            return ""
        self.version = version
        for progress in self.new_rows():
            self.reporter(progress)
        self.report(ended)
        return ended

    def new_rows(self) -> Iterator[Progress]:
        """Yield the rows since the last call."""
        total = self.reporter.history.total_timesteps
        for iteration, step, row in self.table.new_rows():
            yield Progress(row, iteration, step, total)

    def report(self, ended: str) -> None:
        """Tell the panel how the run is."""
        self.reporter.running, self.reporter.status = not ended, ended.partition(";")[0] or self._status()

    def _status(self) -> str:
        if not self.table.path.exists() or not self.reporter.history.step:
            return "waiting for the first row"
        seconds = time.time() - self.table.path.stat().st_mtime
        return f"last row {seconds:.0f} s ago" if seconds > 10 * INTERVAL else ""

    def ended(self) -> str:
        """Return how the run ended, and how to go on; "" while it is in use."""
        if holder(self.run_dir) != "":
            return ""
        try:
            meta = read_checkpoint(checkpoint_path(self.run_dir, "latest"))[1]
        except UsageError:  # it has none yet, or it is being replaced
            age = time.time() - (self.run_dir / "config.json").stat().st_mtime
            return "" if age < 60 else "the run has ended before its first checkpoint; train it again"
        if meta["finished"]:
            why = meta.reached(meta["config"].get("stop_at", ""))
            return f"the run is finished, at step {meta['global_step']:,}{f', since {why}' if why else ''}"
        return f"the run has stopped; its checkpoint is at step {meta['global_step']:,}; continue with: ppo resume " + (
            shlex.quote(str(shown(self.run_dir)))
        )


def _settings(run_dir: Path) -> dict[str, Any]:
    """Return a run's settings.

    Raises:
        UsageError: the folder is not a run.
    """
    path = run_dir / "config.json"
    if not path.is_file():
        raise UsageError(f"{run_dir} is not a run folder (it has no config.json); give a folder that `ppo train` made")
    try:
        return Config().replace(json.loads(path.read_text(encoding="utf-8")), str(path)).to_json()
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise UsageError(f"cannot read {path}: {one_line(error)}") from error
