"""The logs of runs: our tables of progress, and other libraries' tables, TensorBoard events and monitor files."""

import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppo.compare.curves import DETERMINISTIC, SAMPLED, Point, Run, curves_of, read_curves
from ppo.compare.rows import read_comment, read_rows, whole
from ppo.config import Config
from ppo.config.setting import names
from ppo.envs.atari import FRAMES
from ppo.errors import UsageError, one_line

# The sampled policy plays training episodes, the deterministic policy evaluations; by default in SB3 too.
OURS = {SAMPLED: ("charts/episodic_return",), DETERMINISTIC: ("eval/episodic_return",)}
# In event files eval/episodic_return is CleanRL's: the sampled policy, at steps 0, 1, 2 …
THEIRS = {SAMPLED: ("charts/episodic_return", "rollout/ep_rew_mean"), DETERMINISTIC: ("eval/mean_reward",)}
STEPS = ("global_step", "time/total_timesteps")  # columns of progress.csv, ours and SB3's
FILES = ("progress.csv", "events.out.tfevents.*", "*monitor.csv")  # of a run
# Runs of a group may differ in these settings: they do not change what is learnt, or are fields of `Run`.
EVALUATION = {"eval_env_kwargs"}  # which change what an evaluation is
NOT_COMPARED = {"env_id", "algorithm", "seed", *names(Config, "run", "machine")} - EVALUATION
EPISODES = "charts/episodes"  # number of episodes in a mean of charts/episodic_return; 1 if the column is missing


def find_runs(paths: list[Path], env_id: str = "", algorithm: str = "") -> tuple[list[Run], list[str]]:
    """Read the runs at the paths and in the folders below them. Each folder is read once.

    Args:
        paths: run folders, folders of run folders, files within them, or CSV files of curves.
        env_id: environment of runs that do not name theirs.
        algorithm: algorithm of runs that do not name theirs.

    Returns:
        The runs, and a sentence for each run that was left out.

    Raises:
        UsageError: a path holds no run, a file cannot be read, or a run does not name its environment or algorithm.
    """
    runs, folders = [], dict[Path, None]()
    for path in paths:
        of_run = any(path.match(pattern) for pattern in FILES)
        if path.suffix.lower() == ".csv" and path.is_file() and not of_run:
            runs += [
                replace(run, settings=_complete(run.env_id, dict(run.settings))) if "gamma" in dict(run.settings) else run
                for run in read_curves(path)
            ]  # fmt: skip
            continue
        if not path.exists():
            raise UsageError(f"{path} does not exist")
        below = {f.parent for pattern in FILES for f in (path.parent if of_run else path).rglob(pattern)}
        if not below:
            raise UsageError(
                f"{path} holds no run: no progress.csv, monitor.csv or TensorBoard event file in it or below it",
                page="comparing#runs",
            )
        folders |= dict.fromkeys(folder.resolve() for folder in sorted(below))
    runs += [read_run(folder, env_id, algorithm) for folder in folders]
    left_out = [f"{run.name} is left out: it has not logged a finite return" for run in runs if not run.curves]
    return [run for run in runs if run.curves], left_out


def read_run(folder: Path, env_id: str = "", algorithm: str = "") -> Run:
    """Read one run folder, ours or another library's.

    Raises:
        UsageError: a file cannot be read, or the run does not name its environment or algorithm.
    """
    try:
        if not ((folder / "progress.csv").is_file() and (folder / "config.json").is_file()):
            return _foreign(folder, env_id, algorithm)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        unused = EVALUATION if config.get("eval_sampled") else set()  # evaluations that sample are not compared
        known = {name: str(value) for name, value in config.items() if name not in unused}
        settings = _complete(config["env_id"], known)
        # Training episodes already show the sampled policy.
        tags = {SAMPLED: OURS[SAMPLED]} if config.get("eval_sampled") else OURS
        curves = curves_of(_read_progress(folder / "progress.csv", tags))
        return Run(_name(folder), config["env_id"], config["algorithm"], str(config["seed"]), settings, curves)
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise UsageError(f"cannot read the run {_name(folder)}: {one_line(error)}") from error


def _complete(env_id: str, settings: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the settings of a run of ours that are compared; it did what the default means before a setting existed."""
    defaults = {name: str(value) for name, value in Config().to_json().items()}
    if env_id.startswith("ALE/"):
        del defaults["clip_rewards"]  # ALE's own clipping was on
    return tuple((name, value) for name, value in sorted((defaults | settings).items()) if name not in NOT_COMPARED)


def _name(folder: Path) -> str:
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _foreign(folder: Path, env_id: str, algorithm: str) -> Run:
    """Read another library's run; CleanRL names its folders env_id__exp_name__seed__time, SB3 ALGORITHM_number."""
    series, parts = _read_events(folder), folder.name.split("__")
    if not series and (folder / "progress.csv").is_file():
        series = _read_progress(folder / "progress.csv", THEIRS)
    monitors = sorted(folder.glob("*monitor.csv"))
    named = {"env_id": str(read_comment(monitors[0]).get("env_id") or "") if monitors else "", "algorithm": ""}
    # SB3's Monitor is inside its AtariWrapper, and counts each frame of a game whose id skips none.
    frames = FRAMES if "NoFrameskip" in (named["env_id"] or env_id) else 1
    curves = curves_of(series if any(series.values()) else {SAMPLED: _read_monitors(monitors, frames)})
    seed, settings = folder.name, tuple[tuple[str, str], ...]()
    if len(parts) == 4 and re.search(r"-v\d+$", parts[0]):
        seed, settings = parts[2], (("exp_name", parts[1]),)
        # The slash in an id makes two folders. EnvPool's Pong-v5 has no sticky actions; ours of ALE/Pong-v5 has them in EnvPool too.
        family = "envpool:" if "envpool" in parts[1] else "ALE/" if folder.parent.name == "ALE" else ""
        named = {"env_id": family + parts[0], "algorithm": parts[1].partition("_")[0]}
    elif match := re.fullmatch(r"([A-Za-z0-9]+)_\d+", folder.name):
        named["algorithm"] = match[1].lower()
    named = {"env_id": named["env_id"] or env_id, "algorithm": named["algorithm"] or algorithm}
    for name, value in named.items():
        if not value and curves:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{_name(folder)} does not name its {name}; add {flag}", page="comparing#runs")
    return Run(_name(folder), named["env_id"], named["algorithm"], seed, settings, curves)


def _read_progress(path: Path, tags: Mapping[str, tuple[str, ...]]) -> dict[str, list[Point]]:
    """Return the points in a table of progress, from the first column of each policy's tags that has a value."""
    series: dict[str, list[Point]] = {policy: [] for policy in tags}
    for _, row in read_rows(path):
        step = next((row[name] for name in STEPS if row.get(name)), "")
        for policy, names_of_column in tags.items():
            text = next((row[name] for name in names_of_column if row.get(name)), "")
            if text and step:
                count = float(row.get(EPISODES) or 1) if policy == SAMPLED else 1.0
                series[policy].append((whole(step), float(text), count))
    return series


def _read_monitors(paths: list[Path], frames: int = 1) -> list[Point]:
    """Return an episode's return at each step of a run at which one ended, from SB3's monitor files of its environments.

    Args:
        paths: of the files.
        frames: of a decision, which the files count.
    """
    episodes: list[tuple[float, int, float]] = []  # time, length, return
    for path in paths:
        start = float(read_comment(path).get("t_start") or 0)
        for line, row in read_rows(path, ("r", "l", "t"), ("r", "l", "t")):
            try:
                episodes.append((start + float(row["t"]), whole(row["l"]), float(row["r"])))
            except (ValueError, TypeError):
                raise UsageError(f"{path}, line {line} is not an episode: {row}") from None
    if len(paths) > 1:
        episodes.sort(key=lambda episode: episode[0])
    steps = itertools.accumulate(length for _, length, _ in episodes)
    return [(step // frames, episode[2], 1.0) for step, episode in zip(steps, episodes, strict=True)]


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
