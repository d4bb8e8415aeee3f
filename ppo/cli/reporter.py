"""The reporter: shows how a run goes on, as a panel on a terminal and as plain lines elsewhere."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from ppo.cli.alarms import alarms
from ppo.cli.history import History
from ppo.cli.panel import State, duration, panel
from ppo.machine.phase import listening
from ppo.numbers import number
from ppo.run.logger import Progress

TICK = 0.5  # seconds between two pictures
PATIENCE = 2.0  # seconds after which a phase is named
FIELDS = {  # of a plain line: name, TensorBoard tag, format; without one, as `number` does
    "return": ("charts/episodic_return", ""),
    "solved": ("episode/solved", ".2f"),
    "loss": ("pretrain/loss", ".3f"),
    "perplexity": ("eval/perplexity", ".3f"),
    "reward loss": ("reward/loss", ".3f"),
    "held-out loss": ("eval/loss", ".3f"),
    "kl": ("losses/approx_kl", ".4f"),
    "entropy": ("losses/entropy", ".2f"),
}


class Clock:
    """Call a function every TICK seconds in a thread of its own, from `start` to `stop`."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self.tick, self.over = tick, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def stop(self) -> None:
        """End, after the call under way."""
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the main thread meets it too, and reports it
            while not self.over.wait(TICK):
                self.tick()


class Phases:
    """Follow the phases of a command.

    Args:
        console: each kind of phase that lasts longer than PATIENCE is printed there once.
        show: called at each tick instead.
    """

    def __init__(self, console: Console, show: Callable[[], None] | None = None) -> None:
        self.console, self.text, self.since = console, "", 0.0
        self.told: set[str] = set()  # kinds
        self.clock = Clock(show or self._tell)
        self.listening = listening(self._begin)

    def __enter__(self) -> "Phases":
        self.listening.__enter__()
        self.clock.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.clock.stop()
        self.listening.__exit__(*error)

    def _begin(self, text: str) -> None:
        self.text, self.since = text, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the phase under way has lasted."""
        return time.monotonic() - self.since

    def _tell(self) -> None:
        text = self.text
        kind = text.partition(":")[0]
        if text and self.seconds > PATIENCE and kind not in self.told:
            self.told.add(kind)
            self.console.print(f"         wait  {text}", markup=False)


class Reporter:
    """Show how a run goes on: a panel on a terminal; elsewhere a line at every tenth of the budget and each evaluation.

    Args:
        console: printed to.
        settings: of the run, as config.json has them.
        first_step: the global step at which this part of the run starts; None: the run goes on in another process, so its
            speed follows from the seconds in its rows.
    """

    def __init__(self, console: Console, settings: Mapping[str, Any], first_step: int | None = 0) -> None:
        self.console, self.settings, self.first_step = console, settings, first_step
        self.history = History(settings["total_timesteps"])
        self.begin, self.tenths = time.monotonic(), 0
        self.notes: set[str] = set()  # printed already
        self.running, self.status = True, ""  # of a run in another process
        self.lock = threading.Lock()  # of the history, which the panel's thread reads
        self.live: Live | None = None
        if console.is_interactive:
            self.live = Live(self, console=console, auto_refresh=False, vertical_overflow="crop")
            self.phases = Phases(console, self.live.refresh)

    def __enter__(self) -> "Reporter":
        if self.live is not None:
            self.live.start(refresh=True)
            self.phases.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live is not None:
            self.phases.__exit__(kind, error, trace)
            self.live.stop()  # leaves the last picture and shows the cursor

    def __rich__(self) -> RenderableType:
        """Return the panel as it is now."""
        now = self.status
        if self.live is not None and self.phases.text and self.phases.seconds > PATIENCE:
            kind, colon, more = self.phases.text.partition(":")
            now = f"{kind}, {duration(self.phases.seconds)}{colon}{more}"
        with self.lock:
            state = State(self.speed, now, alarms(self.history, self.settings), self.running)
            return panel(self.history, state, not self.console.encoding.startswith("utf"))

    @property
    def speed(self) -> float:
        """Steps per second since the start; 0 if it is not known yet."""
        if self.first_step is not None:
            return (self.history.step - self.first_step) / (time.monotonic() - self.begin)
        seconds = sum(self.history.seconds.values())
        return self.history.step / seconds if seconds else self.history.latest.get("charts/SPS", 0.0)

    def __call__(self, progress: Progress) -> None:
        """Show an iteration, and print each of its notes the first time it comes."""
        for note in progress.notes:
            self._once("note", note)
        with self.lock:
            self.history.add(progress.row, progress.global_step)
        if self.live is None:
            self._line(progress)

    def _once(self, name: str, text: str) -> None:
        if text not in self.notes:
            self.notes.add(text)
            self.console.print(f"{name:>13}  {text}", markup=False)

    def _line(self, progress: Progress) -> None:
        """Print a line if a tenth of the budget is full or there was an evaluation, and each alarm the first time it holds."""
        tenths, row = 10 * progress.global_step // progress.total_timesteps, progress.row
        if tenths > self.tenths or any(name.startswith("eval/") and not math.isnan(x) for name, x in row.items()):
            latest, speed = self.history.latest, self.speed
            values = [(name, latest[tag], form) for name, (tag, form) in FIELDS.items() if tag in latest]
            parts = [f"{name} {format(value, form) if form else number(value)}" for name, value, form in values]
            if "eval/episodic_return" in latest:
                parts.append(f"eval {number(latest['eval/episodic_return'])}")
            left = (progress.total_timesteps - progress.global_step) / speed if speed else math.inf
            done = f"{progress.global_step:,}/{progress.total_timesteps:,} steps  {speed:,.0f} SPS"
            self.console.print("  ".join([done, *parts, f"ETA {left:.0f} s"]), markup=False)
            for alarm in alarms(self.history, self.settings):
                self._once("alarm", str(alarm))
        self.tenths = tenths
