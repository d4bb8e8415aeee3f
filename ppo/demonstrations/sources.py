"""Where recorded episodes come from: an NPZ file, a CSV table, or a Minari data set that is on this machine."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from ppo.demonstrations.arrays import Demonstrations, demonstrations_of
from ppo.demonstrations.format import FLAGS, PAGE, SHORT, check_distinct, names, read_npz
from ppo.envs.spaces import leaf_values, leaves
from ppo.errors import UsageError, extra, one_line
from ppo.numbers import count

MINARI = "minari:"
COLUMNS = SHORT | {name: name for name in ("rewards", *FLAGS)}  # of a table
WORDS = {"true": "1", "false": "0"}  # as pandas writes flags


def read(source: str, obs_space: Space[Any], action_space: Space[Any]) -> Demonstrations:
    """Read recorded episodes of an environment with these spaces.

    Args:
        source: an NPZ file (`ppo.demonstrations.format`); a CSV file with the columns obs_0, …, action_0, …, reward, terminated
            and truncated; or "minari:" and the name of a Minari data set on this machine.
        obs_space: of the environment, with its wrappers.
        action_space: likewise.

    Raises:
        UsageError: the source cannot be read, or does not fit the spaces.
    """
    spaces, metadata = (obs_space, action_space), dict[str, Any]()
    if source.startswith(MINARI):
        arrays = _minari(source.removeprefix(MINARI), *spaces)
    elif source.lower().endswith(".csv"):
        arrays = _table(Path(source), *spaces)
    else:
        arrays, metadata = read_npz(Path(source))
    return demonstrations_of(arrays, *spaces, source, metadata)


def _table(path: Path, obs_space: Space[Any], action_space: Space[Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a CSV table; a Dict or Tuple has the columns of its parts one after another."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a CSV table ({one_line(error)})", PAGE) from error
    header = [name.strip() for name in header]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise UsageError(f"{path} begins with {header[0]!r:.60}; separate the columns by commas", PAGE)
    numbers = np.empty((len(rows), len(header)))
    for line, row in enumerate(rows):
        if len(row) != len(header):
            raise UsageError(f"{path} has {count(len(row), 'value')} in row {line}, but {len(header)} columns", PAGE)
        for n, word in enumerate(row):
            try:
                numbers[line, n] = float(WORDS.get(word.strip().lower(), word))
            except ValueError as error:
                raise UsageError(
                    f"{path} has {word!r:.60} in row {line} of the column {header[n]}; give a number", PAGE
                ) from error
    check_distinct(header, path)
    if done := {"done", "dones"} & {*header}:
        raise UsageError(
            f"{path} has a column {done.pop()}; name it terminated where the task ended, and truncated where a time limit cut it",
            PAGE,
        )
    arrays = {COLUMNS[name]: numbers[:, n] for n, name in enumerate(header) if name in COLUMNS}
    for noun, prefix, space in (("observations", "obs", obs_space), ("actions", "action", action_space)):
        shapes = [leaf.shape for _, leaf in leaves(space)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        needed = [f"{prefix}_{n}" for n in range(sum(sizes))]
        if missing := [name for name in needed if name not in header]:
            wanted = f"{needed[0]} to {needed[-1]}" if needed[1:] else needed[0]
            raise UsageError(f"{path} has no column {missing[0]}; the {noun} need {wanted}", PAGE)
        if more := [name for name in header if re.fullmatch(rf"{prefix}_\d+", name) and name not in needed]:
            raise UsageError(f"{path} has a column {more[0]}, but the {noun} end with {needed[-1]}", PAGE)
        block = numbers[:, [header.index(name) for name in needed]]
        parts = np.split(block, np.cumsum(sizes)[:-1], axis=1)
        arrays |= {
            name: x.reshape(-1, *shape) for name, x, shape in zip(names(space, noun), parts, shapes, strict=True)
        }
    return arrays


def _minari(name: str, obs_space: Space[Any], action_space: Space[Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a Minari data set, whose episodes have one more observation than steps."""
    try:
        import minari
    except ImportError as error:
        raise UsageError(
            f"{MINARI}{name} needs the package minari ({one_line(error)}): {extra('minari')}", PAGE
        ) from error
    try:
        episodes = list(minari.load_dataset(name).iterate_episodes())
    except Exception as error:  # whatever Minari raises, it cannot read the data set
        raise UsageError(
            f"{MINARI}{name} cannot be read ({one_line(error)}); `minari download {name}` gets it, `minari list local` lists yours",
            PAGE,
        ) from error
    columns: dict[str, list[np.ndarray]] = {}
    for episode in episodes:
        steps = len(episode.rewards)
        try:
            for noun, space, values in (
                ("observations", obs_space, episode.observations),
                ("actions", action_space, episode.actions),
            ):
                parts = [np.asarray(x)[:steps] for _, x in leaf_values(space, values)]
                for key, x in zip(names(space, noun), parts, strict=True):
                    columns.setdefault(key, []).append(x)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UsageError(
                f"{MINARI}{name} does not fit the environment's spaces ({one_line(error)})", PAGE
            ) from error
        for key in ("rewards", "terminations", "truncations"):
            columns.setdefault(key, []).append(np.asarray(getattr(episode, key)))
        columns["truncations"][-1] = columns["truncations"][-1].copy()
        columns["truncations"][-1][-1:] |= ~columns["terminations"][-1][-1:]  # a data set may cut where no end is
    return {key: np.concatenate(parts) for key, parts in columns.items()}
