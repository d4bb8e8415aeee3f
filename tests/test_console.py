"""The terminal: tables and lines of a comparison, narrow and wide."""

import io

from rich.console import Console

from ppo.compare.console import print_lines, print_table
from ppo.compare.tables import VERDICTS

ROWS = [
    tuple(VERDICTS),
    ("InvertedDoublePendulum-v5, ppo, 5 runs", *[""] * 5),
    ("  gymnasium-v5-validation-sb3", "same", "-91,994", "-12,794 (sampled)", "-12,794", "not distinguishable"),
]


def printed(print_it, *arguments):
    console = Console(width=80, file=io.StringIO())
    print_it(console, *arguments)
    return console.file.getvalue().splitlines()


def test_a_narrow_table_of_verdicts_has_a_line_for_each_row():
    lines = printed(print_table, ROWS, "verdicts", VERDICTS)
    assert [line.split() for line in lines[:2]] == [["verdicts"], list(VERDICTS)]
    assert lines[3].split() == ["gymnasium-v5-validation-sb3", "same", "-91,994", "-12,794", "s", "-12,794", "unclear"]
    assert max(map(len, lines)) <= 80


def test_narrow_lines_wrap_in_a_column_of_their_own():
    pairs = [("note", "word " * 20), ("1", "end")]
    assert [line[:13].rstrip() for line in printed(print_lines, pairs, False)] == [
        "   note  word",
        "         word",
        "      1  end",
    ]
    assert [line[:13] for line in printed(print_lines, pairs, True)] == [
        "   note  word",
        "word word wor",
        "      1  end",
    ]
