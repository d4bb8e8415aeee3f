"""progress.csv when a run goes on: the rows up to the checkpoint stay, and damage from a power cut is left out."""

import contextlib
import csv
import io
import itertools
import os
import warnings
from pathlib import Path

from ppo.numbers import count
from ppo.run.files import shown, write_atomically

Row = list[str]


def keep_rows(path: Path, iteration: int) -> Row:
    """Drop the rows after `iteration` from the file at path, if there is one, and return its column names.

    A last line without its end is dropped too, since a number in it may be cut. Damaged rows before it are left out with a
    warning. A file without a usable header is renamed, and a new one begins.

    Raises:
        OSError: the file cannot be read, renamed or removed.
        UsageError: it cannot be written.
    """
    if not path.exists():
        return []
    complete, newline, _ = path.read_bytes().rpartition(b"\n")
    if not newline:  # at most a part of the header
        path.unlink()
        return []
    first, *lines = complete.split(b"\n")
    header = parse(first)
    rows = [row for row in map(parse, lines) if is_row(row, len(header))]
    if header[:2] != ["iteration", "global_step"] or (lines and not rows):
        aside = next(p for n in itertools.count(1) if not (p := path.with_name(f"{path.name}.damaged{n}")).exists())
        os.replace(path, aside)
        warnings.warn(f"{shown(path)} is damaged; it is now {aside.name}, and a new table begins", stacklevel=4)
        return []
    if len(rows) < len(lines):
        number = len(lines) - len(rows)
        warnings.warn(f"{shown(path)} has {count(number, 'damaged row')}, left out", stacklevel=4)
    write_atomically(path, _to_text([header] + [row for row in rows if int(row[0]) <= iteration]))
    return header


def widen(path: Path, names: Row) -> None:
    """Add columns to the table at path, empty in its rows so far."""
    with contextlib.suppress(FileNotFoundError):
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        write_atomically(path, _to_text([header + names] + [row + [""] * len(names) for row in rows]))


def _to_text(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def parse(line: bytes) -> Row:
    """Return the cells of a line; none if it is damaged."""
    try:
        (row,) = csv.reader([line.decode().rstrip("\r")])
        return row
    except (UnicodeDecodeError, csv.Error, ValueError):
        return []


def is_row(row: Row, width: int) -> bool:
    """Return whether a row has `width` numbers or empty cells, the first two of them whole numbers."""
    if len(row) != width or any("_" in cell for cell in row):  # Python reads 1_0 as 10
        return False
    try:
        steps, _ = [int(cell) for cell in row[:2]], [float(cell) for cell in row[2:] if cell]
        return min(steps) >= 0
    except ValueError:
        return False
