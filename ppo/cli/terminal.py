"""The terminal: the console on which everything is printed, and lines of names and texts."""

import functools
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ppo.errors import printable
from ppo.machine.distributed import rank


class SafeConsole(Console):
    """A console on which no text, of a run or a file, can command the terminal: control characters appear as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable; all that is printed comes through here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    def on_broken_pipe(self) -> None:
        """Raise the error again; Rich would exit, as if the user's code had."""
        raise BrokenPipeError


# Rank 0 alone prints, and shows a panel on a terminal.
console = SafeConsole(highlight=False, soft_wrap=True, quiet=rank() > 0, force_interactive=False if rank() else None)

fold = functools.partial(textwrap.fill, break_long_words=False, break_on_hyphens=False)  # into lines of whole words
INDENT = " " * 15  # of texts next to their names
BOTTLENECK_SHARE = 0.6  # print a hint if one part takes more than this share of the run's time


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


def print_lines(console: Console, lines: list[tuple[str, str]], wrap: bool = True) -> None:
    """Print (name, text) pairs, one per line, with the texts aligned.

    Args:
        console: printed to.
        lines: the pairs.
        wrap: continue long texts below their beginning, on a terminal; not for commands and paths, which people copy.
    """
    for name, text in lines:
        if wrap and console.is_terminal:
            text = fold(text, max(console.width, 35), initial_indent=INDENT, subsequent_indent=INDENT).lstrip()
        console.print(f"{name:>13}  {text}", markup=False)


def print_error(sentence: str) -> None:
    """Print a sentence to standard error; a terminal does not break its words."""
    if sys.stderr.isatty():
        sentence = fold(sentence, shutil.get_terminal_size().columns)
    print(sentence, file=sys.stderr, flush=True)


def command_of(name: str) -> str:
    """Return how to call an installed command from here: by its name, or by its path if PATH does not contain it."""
    path = Path(sys.executable).with_name(name)
    return name if shutil.which(name) or not path.exists() else os.path.relpath(path)
