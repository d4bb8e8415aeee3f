"""Learning curves of runs: our `progress.csv`, TensorBoard event files with the usual tags, or a CSV of curves."""

import csv
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppo.errors import UsageError

SAMPLED, DETERMINISTIC = "sampled", "deterministic"
# Training episodes are played by the sampled policy; evaluations by the deterministic one, here and by default in SB3.
OURS = {SAMPLED: "charts/episodic_return", DETERMINISTIC: "eval/episodic_return"}
# In event files eval/episodic_return is CleanRL's: a sampled policy, at steps 0, 1, 2 …
THEIRS = {SAMPLED: ("charts/episodic_return", "rollout/ep_rew_mean"), DETERMINISTIC: ("eval/mean_reward",)}
# Settings that say where, how fast or how long something is written, and not what is learnt.
ASIDE = ("seed", "runs_dir", "exp_name", "device", "threads", "compile", "precision", "vectorization",
         "checkpoint_every", "keep_checkpoints", "eval_episodes", "env_id", "algorithm")  # fmt: skip
EPISODES = "charts/episodes"  # how many a point of the first is the mean of; one where nothing says
CSV_COLUMNS = ("env_id", "algorithm", "settings", "seed", "policy", "step", "return", "episodes")
Point = tuple[int, float, float]  # step, return, episodes that it is the mean of
MOST_POINTS = 400  # of a curve that is kept: finer than any picture


@dataclass(frozen=True, eq=False)
class Curve:
    """Returns of one run as it learnt: steps (K,) rising, returns (K,) raw, each the mean of so many episodes (K,)."""

    steps: np.ndarray
    returns: np.ndarray
    episodes: np.ndarray

    def over(self, begin: float, end: float) -> float:
        """Return the mean over the episodes in (begin, end], NaN where there is none."""
        inside = (self.steps > begin) & (self.steps <= end)
        return float(np.average(self.returns[inside], weights=self.episodes[inside])) if inside.any() else float("nan")

    def thinned(self, points: int) -> "Curve":
        """Return means over `points` equal stretches of the steps, each placed at its stretch's last step."""
        which = np.minimum((self.steps * points - 1) // max(int(self.steps[-1]), 1), points - 1)
        each = [which == n for n in np.unique(which)]
        means = [np.average(self.returns[e], weights=self.episodes[e]) for e in each]
        counts = np.array([self.episodes[e].sum() for e in each])
        return Curve(np.array([self.steps[e][-1] for e in each]), np.array(means), counts)


@dataclass(frozen=True)
class Run:
    """One run: what was trained, and its curves by policy (sampled, deterministic)."""

    name: str
    env_id: str
    algorithm: str
    seed: str
    settings: tuple[tuple[str, str], ...]  # those that tell groups apart
    curves: dict[str, Curve]


def find_runs(paths: list[Path], env_id: str = "", algorithm: str = "") -> tuple[list[Run], list[str]]:
    """Read the runs at, or in folders below, the paths; a folder that is named twice is read once.

    Args:
        paths: run folders, folders of run folders, files within them, or CSV files of curves.
        env_id: environment of runs that do not say theirs.
        algorithm: algorithm of runs that do not say theirs.

    Returns:
        The runs, and a sentence for each that was left out.

    Raises:
        UsageError: a path holds no run, a file cannot be read, or a run does not say what was trained.
    """
    runs, folders = [], dict[Path, None]()
    for path in paths:
        if path.suffix == ".csv" and path.is_file() and path.name != "progress.csv":
            runs += read_curves(path)
            continue
        if not path.exists():
            raise UsageError(f"{path} does not exist")
        root = path.parent if path.name == "progress.csv" or path.name.startswith("events.out.tfevents.") else path
        found = {f.parent for pattern in ("progress.csv", "events.out.tfevents.*") for f in root.rglob(pattern)}
        if not found:
            raise UsageError(f"{path} holds no run: no progress.csv and no TensorBoard event file in it or below it")
        folders |= dict.fromkeys(folder.resolve() for folder in sorted(found))
    runs += [read_run(folder, env_id, algorithm) for folder in folders]
    left_out = [f"{run.name} is left out: it has logged no finite return" for run in runs if not run.curves]
    return [run for run in runs if run.curves], left_out


def read_run(folder: Path, env_id: str = "", algorithm: str = "") -> Run:
    """Read one run folder, ours or another trainer's."""
    try:
        if not ((folder / "progress.csv").is_file() and (folder / "config.json").is_file()):
            return _foreign(folder, env_id, algorithm)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings = tuple((name, str(value)) for name, value in sorted(config.items()) if name not in ASIDE)
        curves = _curves(_read_progress(folder / "progress.csv"))
        return Run(_name(folder), config["env_id"], config["algorithm"], str(config["seed"]), settings, curves)
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise UsageError(f"cannot read the run {_name(folder)}: {type(error).__name__} {error}") from error


def _name(folder: Path) -> str:
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _foreign(folder: Path, env_id: str, algorithm: str) -> Run:
    """Read a run of another trainer; CleanRL names its folders env_id__exp_name__seed__time, SB3 ALGORITHM_number."""
    curves, parts = _curves(_read_events(folder)), folder.name.split("__")
    said = {"env_id": "", "algorithm": ""}
    seed, settings = folder.name, tuple[tuple[str, str], ...]()
    if len(parts) == 4 and re.search(r"-v\d+$", parts[0]):
        seed, settings = parts[2], (("exp_name", parts[1]),)
        # A slash in an id makes a folder of its own; EnvPool's Atari is another task than ALE's of that name.
        family = "envpool:" if "envpool" in parts[1] else "ALE/" if folder.parent.name == "ALE" else ""
        said = {"env_id": family + parts[0], "algorithm": parts[1].partition("_")[0]}
    elif match := re.fullmatch(r"([A-Za-z0-9]+)_\d+", folder.name):
        said["algorithm"] = match[1].lower()
    found = {"env_id": said["env_id"] or env_id, "algorithm": said["algorithm"] or algorithm}
    for name, value in found.items():
        if not value and curves:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{_name(folder)} does not say its {name}; give it with {flag}")
    return Run(_name(folder), found["env_id"], found["algorithm"], seed, settings, curves)


def _curves(series: dict[str, list[Point]]) -> dict[str, Curve]:
    """Return the curves by policy, from points by policy."""
    curves = {}
    for policy, found in series.items():
        points = sorted(point for point in found if np.isfinite(point[1]) and point[0] > 0)
        if points:
            steps, returns, episodes = np.array(points, float).T
            curve = Curve(steps.astype(np.int64), returns, episodes)
            curves[policy] = curve.thinned(MOST_POINTS) if len(points) > MOST_POINTS else curve
    return curves


def _read_progress(path: Path) -> dict[str, list[Point]]:
    series: dict[str, list[Point]] = {SAMPLED: [], DETERMINISTIC: []}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a run that is still going on may have written half a line
    for row in csv.DictReader(whole.splitlines()):
        for policy, tag in OURS.items():
            if row.get(tag):
                count = float(row.get(EPISODES) or 1) if policy == SAMPLED else 1.0
                series[policy].append((int(row["global_step"]), float(row[tag]), count))
    return series


def _read_events(folder: Path) -> dict[str, list[Point]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    kinds: Any = events.Tags()
    series: dict[str, list[Point]] = {}
    for policy, tag in ((policy, tag) for policy, tags in THEIRS.items() for tag in tags if policy not in series):
        if tag in kinds["scalars"]:
            series[policy] = [(event.step, event.value, 1.0) for event in events.Scalars(tag)]
        elif tag in kinds["tensors"]:  # as TensorFlow 2 and JAX trainers write scalars
            points = [(event.step, float(make_ndarray(event.tensor_proto)), 1.0) for event in events.Tensors(tag)]
            series[policy] = points
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
                for step, value, count in zip(thin.steps, thin.returns, thin.episodes, strict=True):
                    point = [step, f"{value:.6g}", f"{count:g}"]
                    writer.writerow([run.env_id, run.algorithm, settings, run.seed, policy, *point])


def read_curves(path: Path) -> list[Run]:
    """Read runs from a CSV of curves, with the columns CSV_COLUMNS.

    Raises:
        UsageError: a column is missing, or a row holds no number where one belongs.
    """
    found: dict[tuple[str, ...], dict[str, list[Point]]] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        missing = [name for name in CSV_COLUMNS[:-1] if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path} lacks the column {missing[0]}; the columns are {', '.join(CSV_COLUMNS)}")
        for row in reader:
            key = tuple(row[name] for name in CSV_COLUMNS[:4])
            try:
                point = int(row["step"]), float(row["return"]), float(row.get("episodes") or 1)
                if row["policy"] not in (SAMPLED, DETERMINISTIC):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                raise UsageError(f"{path}, line {reader.line_num} is no point of a curve: {row}") from None
            found.setdefault(key, {}).setdefault(row["policy"], []).append(point)
    return [
        Run(f"{path}, seed {seed}", env_id, algorithm, seed, _settings(text), _curves(series))
        for (env_id, algorithm, text, seed), series in found.items()
    ]


def _settings(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (part.partition("=") for part in text.split("; ") if part))
