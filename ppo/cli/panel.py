"""The panel: a picture of a run in at most nine short lines, as a function of its history."""

from dataclasses import dataclass

from rich.console import Group
from rich.text import Text

from ppo.cli.alarms import Alarm
from ppo.cli.history import BINS, History
from ppo.numbers import number

MAX_ALARMS = 2
CURVES = (  # of the first that was measured: its name, its tag; next to it the newest values of these tags
    ("return", "charts/episodic_return", {"evaluation": "eval/episodic_return", "solved": "episode/solved"}),
    ("loss", "pretrain/loss", {"perplexity": "eval/perplexity", "held-out": "eval/loss"}),
    ("reward loss", "reward/loss", {"held-out": "eval/loss"}),
)
LINES = {  # name, and tag of each value: means over the newest part of the budget
    "policy": {"entropy": "losses/entropy", "KL": "losses/approx_kl", "clip fraction": "losses/clipfrac"},
    "critic": {"explained variance": "losses/explained_variance"},
    "reference": {"KL": "reference/kl", "coefficient": "reference/coef"},
}


@dataclass(frozen=True)
class State:
    """What the panel shows besides the history.

    Attributes:
        speed: steps per second; 0 if it is not known yet.
        now: what the run is doing, or how it ended.
        alarms: those that hold.
        running: whether there is a time left to show.
    """

    speed: float
    now: str
    alarms: list[Alarm]
    running: bool = True


def panel(history: History, state: State, plain: bool = False) -> Group:
    """Return the lines of the panel, at most 80 columns wide.

    Args:
        history: the rows so far.
        state: the rest.
        plain: the terminal shows only ASCII characters.
    """
    texts = [("progress", _progress(history, plain)), ("speed", _speed(history, state))]
    for name, tag, others in CURVES:
        if curve := history.curve(tag):
            values = [number(history.measured(tag)[-1])]
            values += [f"{other} {number(history.latest[t])}" for other, t in others.items() if t in history.latest]
            texts.append((name, "  ".join(([] if plain else [f"{curve:<{BINS}}"]) + values)))
            break
    for name, tags in LINES.items():
        if values := [f"{n} {history.measured(t)[-1]:.3g}" for n, t in tags.items() if history.measured(t)]:
            texts.append((name, "   ".join(values)))
    if history.seconds:
        total = sum(history.seconds.values()) or 1.0
        texts.append(
            ("time", "   ".join(f"{part} {value / total:.0%}" for part, value in history.seconds.items() if value))
        )
    lines = [_line(name, text, plain) for name, text in texts]
    lines += [_line("alarm", str(alarm), plain, "bold red") for alarm in state.alarms[:MAX_ALARMS]]
    return Group(*lines)


def _line(name: str, text: str, plain: bool, style: str = "") -> Text:
    line = Text(f"{name:>13}  ", style="dim", no_wrap=True, overflow="crop" if plain else "ellipsis")
    return line.append(text, style=style or "not dim")


def _progress(history: History, plain: bool) -> str:
    done, left = "#." if plain else "━─"
    full = int(BINS * min(history.spent, 1.0))
    return f"{done * full}{left * (BINS - full)}  {history.spent:.0%}  {history.step:,}/{history.total_timesteps:,}"


def _speed(history: History, state: State) -> str:
    parts = [f"{state.speed:,.0f} SPS"] if state.speed else []
    if state.speed and state.running:
        parts.append(f"ETA {duration((history.total_timesteps - history.step) / state.speed)}")
    return "   ".join([*parts, state.now] if state.now else parts)


def duration(seconds: float) -> str:
    """Return a time as a person says it: 42 s, 3 min, 2 h 5 min, 4 days.

    >>> [duration(x) for x in (41.6, 200, 7500, 400_000)]
    ['42 s', '3 min', '2 h 5 min', '5 days']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
