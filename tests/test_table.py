"""progress.csv survives what a power cut, a full disk or an editor does to it; whole rows stay, damage goes."""

import csv

import pytest

from ppo.run.table import keep_rows, widen

HEADER = "iteration,global_step,a\r\n"
WHOLE = HEADER + "".join(f"{n},{8 * n},{n / 4}\r\n" for n in range(1, 5))


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(
    ("text", "iterations"),
    [
        (WHOLE.encode(), ["1", "2", "3"]),
        (WHOLE.encode()[:-1], ["1", "2", "3"]),  # the last row lacks its end
        (HEADER.encode() + b"1,8,0.2", []),  # was 0.25
        (b"", None),
        (HEADER.encode()[:-4], None),
    ],
)
def test_rows_of_whole_lines_up_to_the_checkpoint_stay(tmp_path, text, iterations):
    path = tmp_path / "progress.csv"
    path.write_bytes(text)
    names = keep_rows(path, 3)
    if iterations is None:
        assert (names, list(tmp_path.iterdir())) == ([], [])
    else:
        assert names == ["iteration", "global_step", "a"]
        assert [row[0] for row in rows(path)[1:]] == iterations


@pytest.mark.parametrize(
    "damage", [b"2,16,\xff\xfe", b"2,16,\x00", b"2,16,zero", b"x,16,0.5", b"2,16", b"-2,16,0.5", b"2,16," + b"7" * 2**21 + b"x", b'2,"16,0']
)  # fmt: skip
def test_damaged_rows_are_left_out_with_a_warning(tmp_path, damage):
    path = tmp_path / "progress.csv"
    path.write_bytes(WHOLE.encode().replace(b"2,16,0.5", damage))
    with pytest.warns(UserWarning, match=r"progress\.csv has 1 damaged row, left out"):
        assert keep_rows(path, 9) == ["iteration", "global_step", "a"]
    assert [row[0] for row in rows(path)[1:]] == ["1", "3", "4"]


@pytest.mark.parametrize("header", [b"iteration,glob\r\n", b"\xff\r\n", b"\x00\x00\r\n", b"iteration,global_step\r\n"])
def test_a_table_without_its_header_is_set_aside(tmp_path, header):
    path = tmp_path / "progress.csv"
    damaged = header + WHOLE.encode().partition(b"\n")[2]
    for number in (1, 2):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=rf"it is now progress\.csv\.damaged{number}, and a new table begins"):
            assert keep_rows(path, 9) == []
        assert (tmp_path / f"progress.csv.damaged{number}").read_bytes() == damaged
        assert not path.exists()


def test_new_columns_are_empty_in_the_rows_so_far(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_bytes(WHOLE.encode())
    widen(path, ["b", "c"])
    assert rows(path)[:2] == [["iteration", "global_step", "a", "b", "c"], ["1", "8", "0.25", "", ""]]
    assert keep_rows(path, 2) == ["iteration", "global_step", "a", "b", "c"]
