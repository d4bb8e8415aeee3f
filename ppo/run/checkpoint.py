"""Checkpoints: one safetensors file each with JSON in its header; written whole or not at all, and never a pickle.

The file holds tensors by name (policy, optimizer, statistics) and, in the header, the schema version, the settings, the
spaces, the counters and a checksum. It holds no random states: a checkpoint is an episode boundary, at which the trainer
seeds every generator and environment from (seed, iteration), in the run that continues as in the run that resumes.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ppo.errors import NonFiniteError, UsageError, one_line
from ppo.run.files import write_atomically

SCHEMA = 2


def write_checkpoint(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, flush it to the disk, and rename it into place.

    Raises:
        UsageError: the folder cannot be written or the disk is full; a checkpoint already at `path` is untouched.
        NonFiniteError: a tensor is not finite; likewise.
    """
    for name, x in tensors.items():
        if not x.isfinite().all():
            raise NonFiniteError(f"{name} is not finite, so it was not saved", tensors)
    stored = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
    text = json.dumps({"schema": SCHEMA, **meta})
    write_atomically(path, save(stored, metadata={"ppo": text, "sha256": _digest(stored, text)}))


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """Return the SHA-256 of a checkpoint's contents, so that a flipped bit is noticed."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint -> tensors by name, and its metadata with the checksum as `sha256`.

    Raises:
        UsageError: the file is missing, damaged, foreign, or of a later schema. Nothing in it is ever executed.
    """
    if not path.is_file():
        raise UsageError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            meta = json.loads(header.get("ppo", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:  # whatever the parser raises, the file is at fault
        raise UsageError(f"{path} is damaged or not a ppo checkpoint ({one_line(error)}); use another one") from error
    if not isinstance(meta, dict) or "schema" not in meta:
        raise UsageError(f"{path} is not a ppo checkpoint; give one that `ppo train` wrote")
    if meta["schema"] not in (1, SCHEMA):
        raise UsageError(
            f"{path} has schema {meta['schema']}; this ppo reads schemas up to {SCHEMA}: install the one that wrote it"
        )
    if header.get("sha256") != _digest(tensors, header["ppo"]):
        raise UsageError(f"{path} is damaged: its contents do not match its checksum; use another checkpoint")
    return tensors, (_from_schema_1(meta) if meta["schema"] == 1 else meta) | {"sha256": header["sha256"]}


def _from_schema_1(meta: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that today's version would have written."""
    config, learnt = meta["config"], meta.pop("supervised", "")
    spent = meta["global_step"] + config["num_envs"] * config["num_steps"] > config["total_timesteps"]
    return meta | {
        "schema": SCHEMA,
        "own_envs": meta.pop("given_envs", False),
        "made_by": {"": "train", "ratings": "reward"}.get(learnt, "pretrain"),
        "finished": learnt != "stopped" if learnt else spent,
    }


def load_exactly(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, path: Path) -> None:
    """Load the tensors under `prefix` into a module whose parameters and buffers they match one to one.

    Raises:
        UsageError: names tensors that are missing, unknown or of another shape.
    """
    own = {name[len(prefix) :]: x for name, x in tensors.items() if name.startswith(prefix)}
    expected = module.state_dict()
    wrong = sorted(set(own) ^ set(expected))
    wrong += [name for name in set(own) & set(expected) if own[name].shape != expected[name].shape]
    if wrong:
        some = ", ".join(wrong[:3]) + f" and {len(wrong) - 3} more" * (len(wrong) > 3)
        raise UsageError(f"{path} does not fit the policy: {some} differ; did its class or a network setting change?")
    module.load_state_dict(own)


def checkpoint_path(run_dir: Path, name: str) -> Path:
    """Return the path of a run's checkpoint ("latest", "best", …).

    Raises:
        UsageError: the folder is not a run, or has no such checkpoint.
    """
    if not (run_dir / "config.json").is_file():
        raise UsageError(f"{run_dir} is not a run folder (it has no config.json); give a folder that `ppo train` made")
    path = run_dir / "checkpoints" / f"{name}.safetensors"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.safetensors"))
        raise UsageError(f"{run_dir} has no checkpoint {name!r}; its checkpoints: {', '.join(names) or 'none yet'}")
    return path


@contextlib.contextmanager
def forensics(run_dir: Path) -> Iterator[None]:
    """Write the rollout or minibatch that a NonFiniteError holds to the run folder before passing it on."""
    try:
        yield
    except NonFiniteError as error:
        if not error.tensors:
            raise
        path = run_dir / "nonfinite.safetensors"
        try:
            write_atomically(path, save({name: x.contiguous() for name, x in error.tensors.items()}))
        except UsageError as full:
            raise NonFiniteError(f"{error} ({full})") from error
        raise NonFiniteError(f"{error}; the numbers around it are in {path}") from error
