"""The format of recorded episodes: an NPZ file of plain arrays, named as in Gymnasium and Minari, without pickle.

Row m is one step: what the environment showed, what was done then, and the environment's answer. Episodes follow one another.

=====================  ============  ==========================================================================
observations           (M, *shape)   before the step; a Dict or Tuple has one array per part: `observations/KEY`
actions                (M, *shape)   as `env.step` took them; a Dict or Tuple likewise
rewards                (M,)          of the step, raw; may be missing
terminations           (M,) bool     the step ended its episode
truncations            (M,) bool     the step was the last one before a time limit
valid                  (M,) bool     the action had an effect; missing: always
metadata               text          JSON: the environment and its arguments, its spaces, who recorded
=====================  ============  ==========================================================================
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from ppo.envs.spaces import leaves
from ppo.errors import UsageError, one_line
from ppo.run.files import write_atomically

PAGE = "howto/demonstrations"
FLAGS = ("terminations", "truncations", "valid")
SHORT = {"reward": "rewards", "terminated": "terminations", "truncated": "truncations"}  # other names of the arrays


def names(space: Space[Any], noun: str) -> list[str]:
    """Return the names of the arrays of a space's leaves, in packing order; `noun` is "observations" or "actions"."""
    return [f"{noun}/{path}" if path else noun for path, _ in leaves(space)]


def check_distinct(given: Sequence[str], path: Path) -> None:
    """Refuse a file that has the same array under two names, or one name twice.

    Raises:
        UsageError: names both.
    """
    if twice := [name for name, times in Counter(given).items() if times > 1]:
        raise UsageError(f"{path} has {twice[0]} twice; leave out one of them", PAGE)
    for short, name in SHORT.items():
        if {short, name} <= {*given}:
            raise UsageError(f"{path} has {short} and {name}, which mean the same; leave out one of them", PAGE)


def write(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write recorded episodes.

    Args:
        path: the file; one that is there is replaced.
        arrays: by name; see the table above.
        metadata: JSON values.

    Raises:
        UsageError: the file cannot be written.
    """
    file = io.BytesIO()
    np.savez_compressed(file, metadata=np.array(json.dumps(metadata)), **arrays)  # type: ignore[arg-type]
    write_atomically(path, file.getvalue())


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of a file by name, and its metadata, {} if it has none.

    Raises:
        UsageError: the file is missing, is not an NPZ file, or holds a pickle, which could run code.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) not in (b"PK", b"\x93N", b"\x80\x04"):  # a zip archive, an array, a pickle
                raise UsageError(
                    f"{path} is not an NPZ file; save arrays with numpy.savez, or give a table that ends with .csv",
                    PAGE,
                )
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise UsageError(f"{path} is one array; give an NPZ file with observations and actions", PAGE)
            check_distinct(loaded.files, path)
            arrays = {SHORT.get(name, name): loaded[name] for name in loaded.files}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or one_line(error)}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        if "pickle" in str(error):
            raise UsageError(
                f"{path} holds a pickle, which could run code; save plain arrays with numpy.savez", PAGE
            ) from error
        raise UsageError(f"{path} is damaged or not an NPZ file ({one_line(error)})", PAGE) from error
    text = str(arrays.pop("metadata", "{}"))
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise UsageError(f"{path} has the metadata {text:.60}, which is not a JSON object; remove it")
    return arrays, metadata
