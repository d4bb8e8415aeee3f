"""Learning curves: the mean returns of a run at its steps, and CSV files of them."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppo.compare.rows import LARGEST, measure, read_rows, whole
from ppo.errors import UsageError

SAMPLED, DETERMINISTIC = "sampled", "deterministic"
CSV_COLUMNS = ("env_id", "algorithm", "settings", "seed", "policy", "step", "return", "episodes")
Point = tuple[int, float, float]  # step, mean return, episodes in the mean
MAX_POINTS = 400  # of a curve in memory: finer than any picture


@dataclass(frozen=True, eq=False)
class Curve:
    """The learning curve of one run."""

    steps: np.ndarray  # (K,) increasing
    returns: np.ndarray  # (K,) raw mean returns
    episodes: np.ndarray  # (K,) episodes in each mean

    def over(self, begin: float, end: float) -> float:
        """Return the mean over the episodes at steps in (begin, end]; NaN if there are none."""
        inside = (self.steps > begin) & (self.steps <= end)
        return float(np.average(self.returns[inside], weights=self.episodes[inside])) if inside.any() else float("nan")

    def downsample(self, points: int) -> "Curve":
        """Return the means over `points` equal intervals of the steps, each at the last step of its interval."""
        interval = np.minimum((self.steps * points - 1) // max(int(self.steps[-1]), 1), points - 1)
        parts = [interval == n for n in np.unique(interval)]
        means = [np.average(self.returns[part], weights=self.episodes[part]) for part in parts]
        counts = np.array([self.episodes[part].sum() for part in parts])
        return Curve(np.array([self.steps[part][-1] for part in parts]), np.array(means), counts)


@dataclass(frozen=True)
class Run:
    """One run, with its learning curves by policy (sampled, deterministic)."""

    name: str
    env_id: str
    algorithm: str
    seed: str
    settings: tuple[tuple[str, str], ...]  # runs with equal settings are one group
    curves: dict[str, Curve]


def curves_of(series: dict[str, list[Point]]) -> dict[str, Curve]:
    """Return the curve of each policy from its points, in any order."""
    curves = {}
    for policy, unsorted in series.items():
        points = sorted(p for p in unsorted if abs(p[1]) <= LARGEST and p[0] > 0 and p[2] > 0)
        if points:
            steps, returns, episodes = np.array(points, float).T
            curve = Curve(steps.astype(np.int64), returns, episodes)
            curves[policy] = curve.downsample(MAX_POINTS) if len(points) > MAX_POINTS else curve
    return curves


def write_curves(path: Path, runs: list[Run], points: int) -> None:
    """Write the curves of runs, downsampled to at most `points` points, as a CSV file that `find_runs` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for run in runs:
            settings = "; ".join(f"{name}={value}" for name, value in run.settings)
            for policy, curve in run.curves.items():
                small = curve.downsample(points)
                for step, value, count in zip(small.steps, small.returns, small.episodes, strict=True):
                    point = [step, f"{value:.6g}", f"{count:g}"]
                    writer.writerow([run.env_id, run.algorithm, settings, run.seed, policy, *point])


def read_curves(path: Path) -> list[Run]:
    """Read runs from a CSV file of curves, with the columns CSV_COLUMNS.

    Raises:
        UsageError: a column is missing, or a row is not a point of a curve.
    """
    points: dict[tuple[str, ...], dict[str, list[Point]]] = {}
    for line, row in read_rows(path, CSV_COLUMNS[:-1], CSV_COLUMNS):
        key = tuple(row[name] for name in CSV_COLUMNS[:4])
        try:
            point = whole(row["step"]), measure(row["return"]), float(row.get("episodes") or 1)
            if row["policy"] not in (SAMPLED, DETERMINISTIC) or not 0 < point[2] <= LARGEST:
                raise ValueError
        except (ValueError, TypeError):
            raise UsageError(
                f"{path}, line {line} is not a point of a curve, with a whole step, a number as return and episodes above 0: "
                f"{', '.join(f'{name} {text}' for name, text in row.items())}"
            ) from None
        points.setdefault(key, {}).setdefault(row["policy"], []).append(point)
    return [
        Run(f"{path}, seed {seed}", env_id, algorithm, seed, _settings(text), curves_of(series))
        for (env_id, algorithm, text, seed), series in points.items()
    ]


def _settings(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (part.partition("=") for part in text.split("; ") if part))
