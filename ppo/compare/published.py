"""Published scores and learning curves, read from package data: each has its source, protocol and number of seeds."""

import functools
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppo.compare import protocol
from ppo.compare.rows import measure, read_rows, whole
from ppo.errors import UsageError

HERE = Path(__file__).parent
WINDOW = 0.05  # a score at step s, ours or published, is the mean over the steps in ((1 − WINDOW) s, s]
COLUMNS = ("source", "algorithm", "env_id", "protocol", "seeds", "step", "mean", "std")
REQUIRED = ("env_id", "step", "mean")


@dataclass(frozen=True, eq=False)
class Figure:
    """A published result of one algorithm on one environment: scores at K budgets, or a learning curve.

    Attributes:
        protocol: how it was measured; the first word is sampled, deterministic or unstated.
        seeds: the number of runs in the mean; 0 if the source does not state it.
        steps: (K,) decisions of the policy, increasing.
        means: (K,) returns.
        stds: (K,) standard deviations over seeds; NaN if none was published.
    """

    source: str
    algorithm: str
    env_id: str
    protocol: str
    seeds: int
    steps: np.ndarray
    means: np.ndarray
    stds: np.ndarray

    @property
    def policy(self) -> str:
        """Return sampled, deterministic, or unstated."""
        match = re.match(r"sampled\b|deterministic\b", self.protocol.lower())
        return match[0] if match else "unstated"

    @property
    def is_curve(self) -> bool:
        """Return whether the figure shows the start of training, the first WINDOW of its steps."""
        return bool(self.steps[0] <= WINDOW * self.steps[-1])

    @property
    def learns(self) -> bool:
        """Return whether a curve ends above its first point by more than the standard deviation there; True for scores."""
        end, _ = self.at(int(self.steps[-1]))
        return not self.is_curve or bool(end > self.means[0] + np.nan_to_num(self.stds[0]))

    def at(self, step: int) -> tuple[float, float]:
        """Return the mean and the standard deviation at a step: of a score there; of a curve over the last WINDOW of the steps.

        Lines connect the points. The mean deviation over the window is at least the deviation of the seeds' means.
        """
        steps = np.linspace((1 - WINDOW) * step, step, 101) if self.is_curve else np.array([step])
        mean, std = (float(np.interp(steps, self.steps, points).mean()) for points in (self.means, self.stds))
        return mean, std


@dataclass(frozen=True)
class Source:
    """The origin of figures.

    Attributes:
        ddof: its standard deviations over n seeds divide by n − ddof; 0 if the source does not say it.
    """

    citation: str
    data: str
    licence: str
    note: str
    ddof: int = 0


def read_figures(path: Path = HERE / "figures.csv") -> list[Figure]:
    """Read figures from a CSV file with one point per row and the columns COLUMNS, of which REQUIRED must be filled.

    Raises:
        UsageError: the file cannot be read, or a line is not a figure.
    """
    series: dict[tuple[str, str, str, str, int], list[tuple[int, float, float]]] = {}
    for line, row in read_rows(path, REQUIRED, COLUMNS):
        key, point = _point(row, path, line)
        series.setdefault(key, []).append(point)
    return [_figure(key, points) for key, points in series.items()]


def _point(
    row: dict[str, str], path: Path, line: int
) -> tuple[tuple[str, str, str, str, int], tuple[int, float, float]]:
    defaults = {"source": path.stem, "algorithm": "", "protocol": "unstated", "seeds": "0"}
    texts = {name: (row.get(name) or "").strip() or defaults.get(name, "") for name in COLUMNS}
    try:
        point = whole(texts["step"]), measure(texts["mean"]), measure(texts["std"] or "nan")
        seeds = whole(texts["seeds"])
        if not texts["env_id"] or math.isnan(point[1]) or point[2] < 0:
            raise ValueError
    except ValueError:
        values = ", ".join(f"{name} {texts[name]!r}" for name in ("env_id", "seeds", "step", "mean", "std"))
        raise UsageError(
            f"{path}, line {line} is not a figure: {values}; it needs an env_id and finite numbers",
            page="comparing#figures-of-your-own",
        ) from None
    return (texts["source"], texts["algorithm"], texts["env_id"], texts["protocol"], seeds), point


def _figure(key: tuple[str, str, str, str, int], points: list[tuple[int, float, float]]) -> Figure:
    steps, means, stds = np.array(sorted(points), float).T
    return Figure(*key, steps.astype(np.int64), means, stds)


@functools.cache
def read_sources() -> dict[str, Source]:
    """Return the sources of the package's figures, by name."""
    return {name: Source(**text) for name, text in tomllib.loads((HERE / "sources.toml").read_text("utf-8")).items()}


def task_of(env_id: str) -> tuple[str, int]:
    """Return the task of an environment and its version; a game's ids of gym, EnvPool and ALE are one task, without versions."""
    plain = re.fullmatch(r"(?:ALE/)?(.+?)(NoFrameskip)?-v(\d+)", env_id.removeprefix("envpool:"))
    if plain is None:
        return env_id, 0
    name, atari, version = plain.groups()
    if atari or env_id.startswith(("ALE/", "envpool:")):
        return f"Atari {name}", 0
    return name, int(version)


@functools.cache
def _changes() -> dict[str, dict[str, str]]:
    return tomllib.loads((HERE / "environments.toml").read_text("utf-8"))


def caveats(ours: str, theirs: str, settings: Mapping[str, str] | None = None) -> list[str] | None:
    """Return what differs between two environments; None if they are different tasks.

    Args:
        ours: the id of our runs' environment.
        theirs: the id of a figure's environment.
        settings: of our runs, by name; None: those that published runs have.
    """
    (name, a), (other, b) = task_of(ours), task_of(theirs)
    if name != other:
        return None
    if name.startswith("Atari "):
        own = protocol.published(ours) if settings is None else protocol.of_run(ours, settings)
        return [f"ours: {x}; theirs: {y}" for x, y in protocol.differences(own, protocol.published(theirs))]
    changes = _changes().get(name, {})
    if a != b and not changes:
        return [f"the changes between {theirs} and {ours} are not recorded"]
    return [text for version, text in changes.items() if min(a, b) < int(version) <= max(a, b)]
