"""Runs of the programs in benchmarks/: known by their settings, and gone on with where they were cut off."""

import hashlib
import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppo import Config, Trainer
from ppo.checkpoint import read_checkpoint


def digest(config: Config, **more: str) -> str:
    """Return eight characters that stand for the settings that are not the defaults, and for what else decides."""
    settings, defaults = config.to_json(), Config().to_json()
    chosen = {name: value for name, value in settings.items() if value != defaults[name]} | more
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]


def spread(values: list[float], digits: int) -> str:
    """Return mean ± sample standard deviation over seeds, where there are two."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else f"{mean}, one seed"


def trained(config: Config, learn: Callable[[Trainer], Any] = Trainer.train) -> Path:
    """Return the finished run of these settings: the one that is there, or trained now.

    Args:
        config: its `exp_name` is followed by the settings' digest.
        learn: trains a new trainer; `ppo.pretrain.pretrain`, say.

    Raises:
        KeyboardInterrupt: the training was stopped.
    """
    name = f"{config.exp_name}-{digest(config)}"
    found = sorted(config.runs_dir.glob(f"*__{name}__s{config.seed}*/checkpoints/latest.safetensors"))
    if found and read_checkpoint(found[0])[1]["supervised"] == "stopped":
        shutil.rmtree(found.pop(0).parents[1])
    if found and read_checkpoint(found[0])[1]["supervised"]:
        return found[0].parents[1]
    trainer = Trainer.resume(found[0].parents[1]) if found else Trainer(config.replace({"exp_name": name}))
    if found and not trainer.finished:
        trainer.train()
    elif not found:
        learn(trainer)
    if trainer.supervised == "stopped" or not (trainer.supervised or trainer.finished):
        raise KeyboardInterrupt
    assert trainer.run_dir is not None
    return trainer.run_dir
