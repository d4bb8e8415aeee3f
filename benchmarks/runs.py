"""Runs of the programs in benchmarks/: identified by their settings, resumed after an interruption, their results saved."""

import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ppo import Config, Trainer, preset
from ppo.run.checkpoint import read_checkpoint
from ppo.run.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def digest(config: Config, **more: str) -> str:
    """Return eight characters that identify the settings which are not the defaults, together with `more`."""
    settings, defaults = config.to_json(), Config().to_json()
    changes = {name: value for name, value in settings.items() if value != defaults[name]} | more
    return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]


def plain(text: str) -> str:
    """Return a text as part of a folder's name: letters and digits, `_` for all others."""
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def settings(env_id: str, runs: Path, name: str, seed: int, **more: Any) -> Config:
    """Return an environment's preset with the settings of a program's run, on one thread; `more` are further settings."""
    fixed = {"runs_dir": str(runs), "exp_name": name, "seed": seed, "threads": 1}
    named = more.get("algorithm", "ppo"), more.get("policy", "auto")
    return preset(env_id, *named).replace(fixed | more)


def today() -> str:
    """Return the date, as in 2026-11-25."""
    return datetime.date.today().isoformat()


def installed(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def text_of(versions: dict[str, str]) -> str:
    """Return versions as a text, as in `torch 2.13.0, gymnasium 1.4.0`."""
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def versions() -> str:
    """Return the versions of the packages on which most results depend."""
    return text_of(installed("torch", "gymnasium", "mujoco"))


def save(path: Path, command: str, results: list[dict[str, Any]], **more: Any) -> None:
    """Write results to a JSON file, together with the command that made them, the date and the versions.

    Args:
        path: the file.
        command: the command.
        results: one dictionary for each run or measurement.
        more: further figures; a date or versions, if they are not those of now.
    """
    header = {"command": command, "date": today(), "versions": versions()}
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(header | more | {"results": results}, indent=1, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())


def fill(
    path: Path,
    command: str,
    cells: list[dict[str, Any]],
    measure: Callable[..., list[dict[str, Any]]],
    jobs: int,
    **made: Any,
) -> None:
    """Measure the cells of a grid that a JSON file lacks, and write the file after each.

    Args:
        path: the file.
        command: the command.
        cells: keyword arguments of `measure`, in the order of the rows.
        measure: returns the rows of a cell, whose arguments become part of each.
        jobs: cells at the same time.
        made: further figures, settings above all: rows that others made are measured again.
    """
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = old["results"] if json.loads(json.dumps(made)).items() <= old.items() else []
    todo = [cell for cell in cells if not any(cell.items() <= row.items() for row in rows)]

    def place(row: dict[str, Any]) -> int:
        return next((n for n, cell in enumerate(cells) if cell.items() <= row.items()), len(cells))

    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        futures = {pool.submit(measure, **cell): cell for cell in todo}
        for future in as_completed(futures):
            rows += [futures[future] | row for row in future.result()]
            save(path, command, sorted(rows, key=place), **made)


def newest_run(folder: Path, name: str, seed: int) -> Path | None:
    """Return the newest run of a seed with a checkpoint whose experiment's name ends in `name`, or None.

    Pretraining cannot be resumed: the folder of an interrupted one is removed.
    """
    paths = [path.parents[1] for path in folder.glob(f"*{name}__s{seed}*/checkpoints/latest.safetensors")]
    ends = [re.search(rf"__s{seed}(?:__(\d+))?$", path.name) for path in paths]
    runs = [path for _, path in sorted((int(end[1] or 1), path) for end, path in zip(ends, paths, strict=True) if end)]
    while runs and meta_of(runs[-1])["made_by"] != "train" and not meta_of(runs[-1])["finished"]:
        shutil.rmtree(runs.pop())
    return runs[-1] if runs else None


def meta_of(run: Path) -> dict[str, Any]:
    """Return the metadata of a run's latest checkpoint."""
    return read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]


def finish(config: Config, learn: Callable[[Trainer], Any] = Trainer.train) -> Path:
    """Return the finished run of these settings: take it if it exists, resume it if it was interrupted, or train it.

    Args:
        config: the settings; their digest is added to `exp_name`.
        learn: trains a new trainer; `ppo.supervised.pretrain.pretrain`, for example.

    Raises:
        KeyboardInterrupt: the training was interrupted.
    """
    name = f"{config.exp_name}-{digest(config)}"
    run = newest_run(config.runs_dir, f"__{name}", config.seed)
    if run and meta_of(run)["finished"]:
        return run
    trainer = Trainer.resume(run) if run else Trainer(config.replace({"exp_name": name}))
    trainer.train() if run else learn(trainer)
    assert trainer.run_dir is not None
    run = config.runs_dir / trainer.run_dir.name  # as `newest_run`, since the digest of a run from it has its path
    if not meta_of(run)["finished"]:
        raise KeyboardInterrupt
    return run
