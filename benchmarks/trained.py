"""Runs of the programs in benchmarks/: known by their settings, and gone on with where they were cut off."""

import hashlib
import json
import re
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ppo import Config, Trainer, preset
from ppo.run.checkpoint import read_checkpoint

RESULTS = Path(__file__).parent / "results"


def digest(config: Config, **more: str) -> str:
    """Return eight characters that stand for the settings that are not the defaults, and for what else decides."""
    settings, defaults = config.to_json(), Config().to_json()
    chosen = {name: value for name, value in settings.items() if value != defaults[name]} | more
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]


def settings(env_id: str, runs: Path, name: str, seed: int, **more: Any) -> Config:
    """Return an environment's preset for a run that a program makes, on one thread; `more` are further settings."""
    fixed = {"runs_dir": str(runs), "exp_name": name, "seed": seed, "threads": 1}
    return preset(env_id, policy=more.get("policy", "auto"))[1].replace(fixed | more)


def spread(values: list[float], digits: int) -> str:
    """Return mean ± sample standard deviation over seeds, where there are two."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else f"{mean}, one seed"


def markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ("---",) * len(head), *rest])


def write_result(name: str, title: str, protocol: str, rows: list[tuple[str, ...]]) -> None:
    """Write a table and how it was made to benchmarks/results/NAME.md, and print it."""
    text = f"# {title}\n\n{protocol} Made by `python -m benchmarks.{name}`.\n\n{markdown(rows)}"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


def existing(folder: Path, name: str, seed: int) -> Path | None:
    """Return the newest run of a seed whose experiment's name ends in `name`, if there is one with a checkpoint.

    What pretraining left when it was stopped cannot be gone on with, and is removed.
    """
    found = [path.parents[1] for path in folder.glob(f"*{name}__s{seed}*/checkpoints/latest.safetensors")]
    ends = [re.search(rf"__s{seed}(?:__(\d+))?$", run.name) for run in found]
    runs = [run for _, run in sorted((int(end[1] or 1), run) for end, run in zip(ends, found, strict=True) if end)]
    while runs and meta_of(runs[-1])["made_by"] != "train" and not meta_of(runs[-1])["finished"]:
        shutil.rmtree(runs.pop())
    return runs[-1] if runs else None


def meta_of(run: Path) -> dict[str, Any]:
    """Return the metadata of a run's latest checkpoint."""
    return read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]


def trained(config: Config, learn: Callable[[Trainer], Any] = Trainer.train) -> Path:
    """Return the finished run of these settings: the one that is there, or trained now.

    Args:
        config: its `exp_name` is followed by the settings' digest.
        learn: trains a new trainer; `ppo.supervised.pretrain.pretrain`, say.

    Raises:
        KeyboardInterrupt: the training was stopped.
    """
    name = f"{config.exp_name}-{digest(config)}"
    found = existing(config.runs_dir, f"__{name}", config.seed)
    if found and meta_of(found)["finished"]:
        return found
    trainer = Trainer.resume(found) if found else Trainer(config.replace({"exp_name": name}))
    trainer.train() if found else learn(trainer)
    assert trainer.run_dir is not None
    if not meta_of(trainer.run_dir)["finished"]:
        raise KeyboardInterrupt
    return trainer.run_dir
