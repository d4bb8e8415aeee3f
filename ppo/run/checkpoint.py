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
from ppo.machine.key import is_signed, sign
from ppo.run.files import check_name, check_plain, shown, write_atomically
from ppo.run.metadata import SCHEMA, Metadata, from_schema_1


def write_checkpoint(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, flush it to the disk, and rename it into place.

    Raises:
        UsageError: the folder cannot be written or the disk is full; a checkpoint already at `path` is untouched.
        NonFiniteError: a tensor is not finite; likewise.
    """
    for name, x in tensors.items():
        if not x.isfinite().all():
            raise NonFiniteError(f"{name} is not finite, so it was not saved", tensors)
    check_plain(path.parent, folder=True)
    stored, memory = dict[str, Tensor](), set[int]()
    for name, x in tensors.items():
        copy = x.detach().cpu().contiguous()
        address = copy.untyped_storage().data_ptr()
        # safetensors refuses tensors that share memory, as a parameter with two names does
        stored[name] = copy.clone() if address in memory else copy
        memory.add(address)
    text = json.dumps({"schema": SCHEMA, **meta})
    digest = digest_of(stored, text)
    signature = sign(digest + text)
    write_atomically(path, save(stored, metadata={"ppo": text, "sha256": digest, "signature": _with_check(signature)}))


def _with_check(signature: str) -> str:
    """Return a signature and its checksum: a damaged one is not another person's."""
    return f"{signature} {hashlib.sha256(signature.encode()).hexdigest()[:16]}"


def digest_of(tensors: dict[str, Tensor], text: str) -> str:
    """Return the SHA-256 of tensors on the CPU and a text: of a checkpoint's contents, so that a flipped bit is noticed."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Metadata]:
    """Read a checkpoint -> tensors by name, and its metadata.

    The metadata has two more fields: `sha256`, the checksum, and `signed`, whether this user wrote the file.

    Raises:
        UsageError: the file is missing, damaged, foreign, or of a later schema. Nothing in it is ever executed.
    """
    header, tensors = _read(path)
    fields = _fields(path, header)
    digest = digest_of(tensors, header["ppo"])
    signature = header.get("signature", "").partition(" ")[0]
    expected = {"ppo": header["ppo"], "sha256": digest}
    if header not in (expected, expected | {"signature": _with_check(signature)}):  # older files have no signature
        raise UsageError(f"{path} is damaged: its contents do not match its checksum; use another checkpoint")
    signed = is_signed(digest + header["ppo"], signature)
    return tensors, Metadata(fields | {"sha256": digest, "signed": signed}, str(path))


def _read(path: Path, with_tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return a file's header and its tensors by name."""
    try:
        if not path.is_file():
            raise UsageError(f"there is no checkpoint at {path}")
        with path.open("rb"):
            pass  # safetensors would not say why it cannot open a file
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UsageError:
        raise
    except Exception as error:  # whatever the parser raises, the file is at fault
        raise UsageError(f"{path} is damaged or not a ppo checkpoint ({one_line(error)}); use another one") from error


def _fields(path: Path, header: dict[str, str]) -> dict[str, Any]:
    """Return the fields of the metadata as today's version writes them."""
    try:
        fields = json.loads(header.get("ppo", "{}"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged or not a ppo checkpoint ({one_line(error)}); use another one") from error
    if not isinstance(fields, dict) or "schema" not in fields:
        raise UsageError(f"{path} is not a ppo checkpoint; give one that `ppo train` wrote")
    schema = fields["schema"]
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise UsageError(
            f"{path} has schema {schema!r:.60}; this ppo reads schemas up to {SCHEMA}: install the one that wrote it"
        )
    try:
        return from_schema_1(fields) if schema == 1 else fields
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged: a field is missing or wrong ({one_line(error)})") from error


def check_newest(run_dir: Path, iteration: int) -> None:
    """Check that a run's latest checkpoint is not of a later iteration.

    Raises:
        UsageError: another process has trained the run further.
    """
    path = run_dir / "checkpoints" / "latest.safetensors"
    if (
        path.is_file()
        and (latest := Metadata(_fields(path, _read(path, False)[0]), str(path))["iteration"]) > iteration
    ):
        raise UsageError(
            f"{shown(run_dir)} has been trained to iteration {latest} since this trainer read it at iteration "
            f"{iteration}; resume it again"
        )


def fits(stored: Tensor, own: Tensor) -> bool:
    """Return whether a stored tensor has the shape and the dtype of its place, or is float32 where that is float64."""
    return stored.shape == own.shape and (
        stored.dtype == own.dtype or (stored.dtype, own.dtype) == (torch.float32, torch.float64)
    )


def described(tensors: dict[str, Tensor]) -> str:
    """Return the names, dtypes and shapes of tensors, for an error."""
    return ", ".join(f"{name} {str(x.dtype)[6:]} {tuple(x.shape)}" for name, x in sorted(tensors.items()))


def load_exactly(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, path: Path) -> None:
    """Load the tensors under `prefix` into a module whose parameters and buffers they match one to one.

    Raises:
        UsageError: names tensors that are missing, unknown, of another shape or dtype, or not finite.
    """
    own = {name[len(prefix) :]: x for name, x in tensors.items() if name.startswith(prefix)}
    expected = module.state_dict()
    wrong = sorted(set(own) ^ set(expected))
    wrong += sorted(name for name in set(own) & set(expected) if not fits(own[name], expected[name]))
    if wrong:
        some = ", ".join(wrong[:3]) + f" and {len(wrong) - 3} more" * (len(wrong) > 3)
        raise UsageError(f"{path} does not fit the policy: {some} differ; did its class or a network setting change?")
    for name, x in own.items():
        if not x.isfinite().all():
            raise UsageError(f"{path} holds numbers that are not finite in {prefix}{name}; use another checkpoint")
    module.load_state_dict(own)


def checkpoint_path(run_dir: Path, name: str) -> Path:
    """Return the path of a run's checkpoint ("latest", "best", …).

    Raises:
        UsageError: the folder is not a run, or has no such checkpoint.
    """
    check_name(run_dir)
    path = run_dir / "checkpoints" / f"{name}.safetensors"
    try:
        if not (run_dir / "config.json").is_file():
            raise UsageError(
                f"{run_dir} is not a run folder (it has no config.json); give a folder that `ppo train` made"
            )
        if not path.is_file():
            names = sorted(file.stem for file in path.parent.glob("*.safetensors"))
            raise UsageError(f"{run_dir} has no checkpoint {name!r}; its checkpoints: {', '.join(names) or 'none yet'}")
    except OSError as error:
        raise UsageError(f"cannot read the run {run_dir}: {error.strerror}") from error
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
        raise NonFiniteError(f"{error}; the numbers around it are in {shown(path)}") from error
