"""The terminal: a progress bar, or plain lines if the output is not a terminal."""

import math
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.segment import Segment

from ppo.errors import printable
from ppo.numbers import number
from ppo.run.logger import Progress


class SafeConsole(Console):
    """A console on which no text, of a run or a file, can command the terminal: control characters appear as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable; all that is printed comes through here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    def on_broken_pipe(self) -> None:
        """Raise the error again; Rich would exit, as if the user's code had."""
        raise BrokenPipeError


console = SafeConsole(highlight=False, soft_wrap=True)

FIELDS = {  # of the progress bar: name, TensorBoard tag, format; without one, as `number` does
    "return": ("charts/episodic_return", ""),
    "solved": ("episode/solved", ".2f"),
    "loss": ("pretrain/loss", ".3f"),
    "perplexity": ("eval/perplexity", ".3f"),
    "reward loss": ("reward/loss", ".3f"),
    "held-out loss": ("eval/loss", ".3f"),
    "kl": ("losses/approx_kl", ".4f"),
    "entropy": ("losses/entropy", ".2f"),
}
BOTTLENECK_SHARE = 0.6  # print a hint if one part takes more than this share of the run's time


class Reporter:
    """Show the progress of a run: steps, speed, remaining time, and the newest value of each of FIELDS.

    The speed (SPS, steps per second) is the mean since the start. Without a terminal it prints a line at every tenth of
    the budget and at each evaluation.

    Args:
        console: printed to.
        first_step: the global step at which this part of the run starts.
    """

    def __init__(self, console: Console, first_step: int = 0) -> None:
        self.console, self.first_step, self.start, self.tenths = console, first_step, time.monotonic(), 0
        self.latest: dict[str, float] = {}
        self.seconds: dict[str, float] = {}  # so far, by part of the loop
        self.episodes = 0.0  # that ended
        self.notes: set[str] = set()  # printed already
        self.bar = Bar(
            TextColumn("{task.fields[done]}"), BarColumn(None), TextColumn("{task.fields[text]}"),
            TextColumn("ETA"), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("", total=None, done="", text="")

    def __enter__(self) -> "Reporter":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show an iteration, and print each of its notes the first time it comes."""
        for note in (note for note in progress.notes if note not in self.notes):
            self.notes.add(note)
            self.console.print(f"         note  {note}", markup=False)
        self.episodes += progress.row.get("charts/episodes", 0.0)
        self.latest |= {name: value for name, value in progress.row.items() if not math.isnan(value)}
        for tag, value in progress.row.items():
            if tag.startswith("time/"):
                name = tag.removeprefix("time/")
                self.seconds[name] = self.seconds.get(name, 0.0) + value
        speed = (progress.global_step - self.first_step) / (time.monotonic() - self.start)
        done = f"{progress.global_step:,}/{progress.total_timesteps:,}"
        values = [(name, self.latest[tag], form) for name, (tag, form) in FIELDS.items() if tag in self.latest]
        parts = [f"{name} {format(value, form) if form else number(value)}" for name, value, form in values]
        text = "  ".join([f"{speed:,.0f} SPS", *parts])
        if "eval/episodic_return" in self.latest:
            text += f"  eval {number(self.latest['eval/episodic_return'])}"
        self.bar.update(self.task, total=progress.total_timesteps, completed=progress.global_step, done=done, text=text)
        tenths = 10 * progress.global_step // progress.total_timesteps
        evaluated = any(name.startswith("eval/") and not math.isnan(x) for name, x in progress.row.items())
        if not self.console.is_terminal and (tenths > self.tenths or evaluated):
            left = (progress.total_timesteps - progress.global_step) / speed if speed else math.inf
            print(f"{done} steps  {text}  ETA {left:.0f} s", flush=True)
        self.tenths = tenths


def time_split(seconds: dict[str, float], compiled: bool, vectorization: str) -> str:
    """Return the share of each part in a run's time and, if one part dominates, how to speed it up.

    Args:
        seconds: of environment, inference, update, evaluation and, if the run has one, reference.
        compiled: whether the policy and the optimizer step were compiled.
        vectorization: as in `Config`.
    """
    total = sum(seconds.values()) or 1.0
    parts = ", ".join(f"{name} {value / total:.0%}" for name, value in seconds.items())
    largest = max(seconds, key=lambda name: seconds[name])
    if seconds[largest] < BOTTLENECK_SHARE * total:
        return parts
    compiling = "" if compiled else "--compile on, "
    envpool = "--vectorization envpool, if EnvPool has it" if vectorization != "envpool" else "a faster environment"
    hints = {
        "environment": envpool,
        "inference": f"{compiling}more --num-envs with fewer --num-steps",
        "update": f"{compiling}fewer --update-epochs, fewer --num-minibatches",
        "reference": "a smaller reference policy",
        "evaluation": "fewer --eval-episodes, a lower --eval-max-steps, a higher --checkpoint-every",
    }
    return f"{parts}; to speed it up: {hints[largest]}"


def print_lines(console: Console, lines: list[tuple[str, str]]) -> None:
    """Print (name, text) pairs, one per line, with the texts aligned."""
    for name, text in lines:
        console.print(f"{name:>13}  {text}", markup=False)
