"""Checkpoints: one safetensors file each, its header holding JSON; written whole or not at all, and never a pickle.

The file holds tensors by name (policy, optimizer, statistics) and, in the header, the schema version, the settings,
the spaces and the counters. There are no random states: a checkpoint is an episode boundary, at which the trainer seeds
every generator and environment anew from (seed, iteration), in the run that goes on as in the run that resumes.
"""

import json
import os
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ppo.errors import UsageError

SCHEMA = 1


def write_checkpoint(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, flush it to the disk, and rename it into place.

    Raises:
        UsageError: the folder cannot be written or the disk is full; a checkpoint already at `path` is untouched.
    """
    header = {"ppo": json.dumps({"schema": SCHEMA, **meta})}
    data = save({name: x.detach().cpu().contiguous() for name, x in tensors.items()}, metadata=header)
    write_atomically(path, data)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, so that a reader or a power cut sees the old or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}; make room or choose another --run-dir") from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint -> tensors by name, and its meta data.

    Raises:
        UsageError: the file is missing, damaged, from elsewhere, or of a later schema. Nothing in it is ever executed.
    """
    if not path.is_file():
        raise UsageError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise UsageError(f"{path} is damaged or no checkpoint of ppo ({error}); use another checkpoint") from error
    try:
        meta = json.loads(header["ppo"])
        schema = meta["schema"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is no checkpoint of ppo; give one that `ppo train` wrote") from error
    if schema != SCHEMA:
        raise UsageError(f"{path} has schema {schema}, this ppo reads {SCHEMA}; install the ppo that wrote it")
    return tensors, meta


def load_exactly(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, path: Path) -> None:
    """Load the tensors under `prefix` into a module whose parameters and buffers they match one to one.

    Raises:
        UsageError: lists what is missing, unknown or of another shape.
    """
    found = {name[len(prefix) :]: x for name, x in tensors.items() if name.startswith(prefix)}
    expected = module.state_dict()
    wrong = sorted(set(found) ^ set(expected))
    wrong += [name for name in set(found) & set(expected) if found[name].shape != expected[name].shape]
    if wrong:
        raise UsageError(f"{path} does not fit the policy: {', '.join(wrong)} differ; was the policy's class changed?")
    module.load_state_dict(found)


def checkpoint_path(run_dir: Path, name: str) -> Path:
    """Return the path of a run's checkpoint ("latest", "best", …).

    Raises:
        UsageError: the folder is no run, or has no such checkpoint.
    """
    if not (run_dir / "config.json").is_file():
        raise UsageError(f"{run_dir} is no run folder: it has no config.json; give a folder that `ppo train` made")
    path = run_dir / "checkpoints" / f"{name}.safetensors"
    if not path.is_file():
        raise UsageError(f"{run_dir} has no checkpoint {name!r}; it stopped before the first one was written")
    return path
