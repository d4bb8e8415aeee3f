"""Learning curves of runs: our `progress.csv`, TensorBoard event files with the usual tags, or a CSV of curves."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppo.errors import UsageError

SAMPLED, DETERMINISTIC = "sampled", "deterministic"
# Training episodes are played by the sampled policy; evaluations by the deterministic one, here and by default in SB3.
TAGS = {SAMPLED: ("charts/episodic_return", "rollout/ep_rew_mean"),
        DETERMINISTIC: ("eval/episodic_return", "eval/mean_reward")}  # fmt: skip
# Settings that say where, how fast or how long something is written, and not what is learnt.
ASIDE = ("seed", "runs_dir", "exp_name", "device", "threads", "compile", "precision", "vectorization",
         "checkpoint_every", "keep_checkpoints", "eval_episodes", "env_id", "algorithm")  # fmt: skip
CSV_COLUMNS = ("env_id", "algorithm", "settings", "seed", "policy", "step", "return")
MOST_POINTS = 400  # of a curve that is kept: finer than any picture


@dataclass(frozen=True, eq=False)
class Curve:
    """Returns of one run as it learnt: steps (K,) rising, returns (K,) raw."""

    steps: np.ndarray
    returns: np.ndarray

    def over(self, begin: float, end: float) -> float:
        """Return the mean of the points in (begin, end], NaN where there is none."""
        inside = (self.steps > begin) & (self.steps <= end)
        return float(self.returns[inside].mean()) if inside.any() else float("nan")

    def thinned(self, points: int) -> "Curve":
        """Return means over `points` equal stretches of the steps, each placed at its stretch's last step."""
        which = np.minimum((self.steps * points - 1) // max(int(self.steps[-1]), 1), points - 1)
        each = [which == n for n in np.unique(which)]
        return Curve(np.array([self.steps[e][-1] for e in each]), np.array([self.returns[e].mean() for e in each]))


@dataclass(frozen=True)
class Run:
    """One run: what was trained, and its curves by policy (sampled, deterministic)."""

    name: str
    env_id: str
    algorithm: str
    seed: str
    settings: tuple[tuple[str, str], ...]  # those that tell groups apart
    curves: dict[str, Curve]


def find_runs(paths: list[Path], env_id: str = "", algorithm: str = "") -> list[Run]:
    """Read the runs at, or in folders below, the paths.

    Args:
        paths: run folders, folders of run folders, or CSV files of curves.
        env_id: environment of runs that do not say theirs.
        algorithm: algorithm of runs that do not say theirs.

    Raises:
        UsageError: a path holds no run, a file cannot be read, or a run does not say what was trained.
    """
    runs: list[Run] = []
    for path in paths:
        if path.suffix == ".csv" and path.is_file():
            runs += read_curves(path)
            continue
        folders = {file.parent for pattern in ("progress.csv", "events.out.tfevents.*") for file in path.rglob(pattern)}
        if not folders:
            raise UsageError(f"{path} holds no run: no progress.csv and no TensorBoard event file in it or below it")
        runs += [read_run(folder, env_id, algorithm) for folder in sorted(folders)]
    return [run for run in runs if run.curves]


def read_run(folder: Path, env_id: str = "", algorithm: str = "") -> Run:
    """Read one run folder, ours or another trainer's."""
    if (folder / "progress.csv").is_file() and (folder / "config.json").is_file():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings = tuple((name, str(value)) for name, value in sorted(config.items()) if name not in ASIDE)
        curves = _curves(_read_progress(folder / "progress.csv"))
        return Run(str(folder), config["env_id"], config["algorithm"], str(config["seed"]), settings, curves)
    return _foreign(folder, env_id, algorithm)


def _foreign(folder: Path, env_id: str, algorithm: str) -> Run:
    """Read a run of another trainer; CleanRL names its folders env_id__exp_name__seed__time, SB3 ALGORITHM_number."""
    parts = folder.name.split("__")
    said = {"env_id": "", "algorithm": "", "seed": folder.name, "settings": ""}
    if len(parts) == 4 and re.search(r"-v\d+$", parts[0]):
        said = {"env_id": parts[0], "algorithm": parts[1].partition("_")[0], "seed": parts[2], "settings": parts[1]}
    elif match := re.fullmatch(r"([A-Za-z0-9]+)_\d+", folder.name):
        said["algorithm"] = match[1].lower()
    found = {"env_id": env_id or said["env_id"], "algorithm": algorithm or said["algorithm"]}
    for name, value in found.items():
        if not value:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{folder} does not say its {name}; give it with {flag}")
    settings = (("exp_name", said["settings"]),) if said["settings"] else ()
    return Run(str(folder), found["env_id"], found["algorithm"], said["seed"], settings, _curves(_read_events(folder)))


def _curves(series: dict[str, list[tuple[int, float]]]) -> dict[str, Curve]:
    """Return the curves by policy, from points (step, return) by tag."""
    curves = {}
    for policy, tags in TAGS.items():
        points = next((series[tag] for tag in tags if series.get(tag)), [])
        points = sorted((step, value) for step, value in points if np.isfinite(value) and step > 0)
        if points:
            steps, returns = np.array(points, float).T
            curve = Curve(steps.astype(np.int64), returns)
            curves[policy] = curve.thinned(MOST_POINTS) if len(points) > MOST_POINTS else curve
    return curves


def _read_progress(path: Path) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name in (tag for tags in TAGS.values() for tag in tags):
                if row.get(name):
                    series.setdefault(name, []).append((int(row["global_step"]), float(row[name])))
    return series


def _read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    kinds: Any = events.Tags()
    series = {}
    for tag in (tag for tags in TAGS.values() for tag in tags):
        if tag in kinds["scalars"]:
            series[tag] = [(event.step, event.value) for event in events.Scalars(tag)]
        elif tag in kinds["tensors"]:  # as TensorFlow 2 and JAX trainers write scalars
            series[tag] = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
    return series


def write_curves(path: Path, runs: list[Run], points: int) -> None:
    """Write the curves of runs, thinned, as a CSV that `find_runs` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for run in runs:
            settings = "; ".join(f"{name}={value}" for name, value in run.settings)
            for policy, curve in run.curves.items():
                thin = curve.thinned(points)
                for step, value in zip(thin.steps, thin.returns, strict=True):
                    writer.writerow([run.env_id, run.algorithm, settings, run.seed, policy, step, f"{value:.6g}"])


def read_curves(path: Path) -> list[Run]:
    """Read runs from a CSV of curves, with the columns CSV_COLUMNS.

    Raises:
        UsageError: a column is missing, or a row holds no number where one belongs.
    """
    found: dict[tuple[str, ...], dict[str, list[tuple[int, float]]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in CSV_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path} lacks the column {missing[0]}; the columns are {', '.join(CSV_COLUMNS)}")
        for row in reader:
            key = tuple(row[name] for name in CSV_COLUMNS[:4])
            try:
                point = int(row["step"]), float(row["return"])
                tag = TAGS[row["policy"]][0]
            except (ValueError, KeyError):
                raise UsageError(f"{path}, line {reader.line_num} is no point of a curve: {row}") from None
            found.setdefault(key, {}).setdefault(tag, []).append(point)
    return [
        Run(f"{path}, seed {seed}", env_id, algorithm, seed, _settings(text), _curves(series))
        for (env_id, algorithm, text, seed), series in found.items()
    ]


def _settings(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (part.partition("=") for part in text.split("; ") if part))
