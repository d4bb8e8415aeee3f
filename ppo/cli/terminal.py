"""The terminal: a progress bar where there is one, plain lines where there is not."""

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ppo.run.logger import Progress

console = Console(highlight=False, soft_wrap=True)

SHOWN = {
    "return": ("charts/episodic_return", ".4g"),
    "solved": ("episode/solved", ".2f"),
    "loss": ("pretrain/loss", ".3f"),
    "perplexity": ("eval/perplexity", ".3f"),
    "pairs": ("reward/loss", ".3f"),
    "held out": ("eval/loss", ".3f"),
    "kl": ("losses/approx_kl", ".4f"),
    "entropy": ("losses/entropy", ".2f"),
}

MOST = 0.6  # of a run's time: then it is worth a word


class Reporter:
    """Show steps, SPS, ETA, episode return, KL and entropy while a run goes on.

    Values are those of the newest iteration that had any; SPS is the speed since the start. Lines, where there is no
    terminal, come at every tenth of the budget and at each evaluation.
    """

    def __init__(self, console: Console, begun_at: int = 0) -> None:
        self.console, self.begun_at, self.begin, self.tenths = console, begun_at, time.monotonic(), 0
        self.latest: dict[str, float] = {}
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
        """Take in an iteration."""
        for note in progress.notes:
            self.console.print(f"         note  {note}", markup=False)
        self.latest |= {name: value for name, value in progress.row.items() if not math.isnan(value)}
        speed = (progress.global_step - self.begun_at) / (time.monotonic() - self.begin)
        done = f"{progress.global_step:,}/{progress.total_timesteps:,}"
        parts = [f"{name} {self.latest[tag]:{fmt}}" for name, (tag, fmt) in SHOWN.items() if tag in self.latest]
        text = "  ".join([f"{speed:,.0f} SPS", *parts])
        if "eval/episodic_return" in self.latest:
            text += f"  eval {self.latest['eval/episodic_return']:.4g}"
        self.bar.update(self.task, total=progress.total_timesteps, completed=progress.global_step, done=done, text=text)
        tenths = 10 * progress.global_step // progress.total_timesteps
        evaluated = any(name.startswith("eval/") and not math.isnan(x) for name, x in progress.row.items())
        if not self.console.is_terminal and (tenths > self.tenths or evaluated):
            left = (progress.total_timesteps - progress.global_step) / speed if speed else math.inf
            print(f"{done} steps  {text}  ETA {left:.0f} s", flush=True)
        self.tenths = tenths


def time_split(seconds: dict[str, float], compiled: bool, vectorization: str) -> str:
    """Return where a run's time went and, where one part took most of it, what would help.

    Args:
        seconds: of environment, inference, update and, where there is one, reference.
        compiled: the policy and the optimizer step were machine code.
        vectorization: as in `Config`.
    """
    total = sum(seconds.values()) or 1.0
    parts = ", ".join(f"{name} {value / total:.0%}" for name, value in seconds.items())
    largest = max(seconds, key=lambda name: seconds[name])
    if seconds[largest] < MOST * total:
        return parts
    machine = "" if compiled else "--compile on, "
    help_with = {
        "environment": "--vectorization envpool, if it knows this one"
        if vectorization != "envpool"
        else "nothing here; it is the environment's own time",
        "inference": f"{machine}more --num-envs with fewer --num-steps",
        "update": f"{machine}fewer --update-epochs, fewer --num-minibatches",
        "reference": "a smaller reference",
    }
    return f"{parts}; what would help: {help_with[largest]}"


def print_lines(console: Console, lines: list[tuple[str, str]]) -> None:
    """Print (name, text) pairs, a line each, the texts below each other."""
    for name, text in lines:
        console.print(f"{name:>13}  {text}", markup=False)
