"""Runs of the programs in benchmarks/: identified by their settings, and resumed after an interruption."""

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
    """Return eight characters that identify the settings which are not the defaults, together with `more`."""
    settings, defaults = config.to_json(), Config().to_json()
    changes = {name: value for name, value in settings.items() if value != defaults[name]} | more
    return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]


def settings(env_id: str, runs: Path, name: str, seed: int, **more: Any) -> Config:
    """Return an environment's preset with the settings of a program's run, on one thread; `more` are further settings."""
    fixed = {"runs_dir": str(runs), "exp_name": name, "seed": seed, "threads": 1}
    return preset(env_id, policy=more.get("policy", "auto"))[1].replace(fixed | more)


def spread(values: list[float], digits: int) -> str:
    """Return the mean over seeds, and ± the sample standard deviation if there are at least two."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else f"{mean}, one seed"


def markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ("---",) * len(head), *rest])


def write_result(name: str, title: str, protocol: str, rows: list[tuple[str, ...]]) -> None:
    """Write a table, its protocol and its command to benchmarks/results/NAME.md, and print it."""
    text = f"# {title}\n\n{protocol} Made by `python -m benchmarks.{name}`.\n\n{markdown(rows)}"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


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
    if not meta_of(trainer.run_dir)["finished"]:
        raise KeyboardInterrupt
    return trainer.run_dir
