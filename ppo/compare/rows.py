"""CSV files as rows, separated by commas, semicolons or tabs; what cannot be read is one sentence with the file and line."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ppo.errors import UsageError, one_line

LARGEST = 1e100  # of a return: its square is a number too
Row = dict[str, str]


def read_rows(path: Path, required: Iterable[str] = (), all_columns: Iterable[str] = ()) -> Iterator[tuple[int, Row]]:
    """Yield (line, row by column) of a CSV file with a header; a last line without its end is left out.

    Args:
        path: the file; lines at its top that begin with # are skipped.
        required: columns that the header must have.
        all_columns: every column, for the error.

    Raises:
        UsageError: the file cannot be read, or a column is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = text[: text.rfind("\n") + 1] if path.name == "progress.csv" else text  # a run may be writing it
        comments = 0
        while lines.startswith("#"):
            comments, lines = comments + 1, lines.partition("\n")[2]
        head = lines.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(lines, newline=""), delimiter=max(",;\t", key=head.count))
        names = reader.fieldnames or ()
        for name in (name for name in required if name not in names):
            raise UsageError(f"{path} lacks the column {name}; the columns are {', '.join(all_columns)}")
        for row in reader:
            yield comments + reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {path}: {reason}") from error


def read_comment(path: Path) -> dict[str, Any]:
    """Return the JSON after # in the first line of a file; empty if there is none."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(10_000)
        comment = json.loads(first[1:]) if first.startswith("#") else {}
        return comment if isinstance(comment, dict) else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {path}: {one_line(error)}") from error


def whole(text: str) -> int:
    """Return a whole number from 0 up, also written as 1000.0 or 1e3.

    Raises:
        ValueError: the text is another one.
    """
    value = float(text)
    if not value.is_integer() or not 0 <= value < 2**63:
        raise ValueError(f"{text!r} is not a number of steps")
    return int(value)


def measure(text: str) -> float:
    """Return a number, which may be NaN.

    Raises:
        ValueError: the text is another one, or a number beyond LARGEST.
    """
    value = float(text)
    if not math.isnan(value) and abs(value) > LARGEST:
        raise ValueError(f"{text!r} is too large")
    return value
