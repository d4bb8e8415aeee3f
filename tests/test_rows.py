"""CSV files as rows: the separator is found, and what cannot be read is one sentence."""

import math

import pytest

from ppo import UsageError
from ppo.compare.rows import measure, read_comment, read_rows, whole


def test_rows_have_the_numbers_of_their_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf#{}\r\na;b\r\n1;2,5\r\n3;4")
    assert list(read_rows(path)) == [(3, {"a": "1", "b": "2,5"}), (4, {"a": "3", "b": "4"})]


def test_half_a_line_of_a_run_that_is_writing_is_left_out(tmp_path):
    (tmp_path / "progress.csv").write_text("a,b\n1,2\n3,")
    assert list(read_rows(tmp_path / "progress.csv")) == [(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot read .*a.csv: No such file or directory"),
        (b"a,b\n\xff,1\n", "cannot read .*a.csv: 'utf-8' codec"),
        (b"a,b\n1,2\n", "a.csv lacks the column c; the columns are a, b, c"),
        (b"", "a.csv lacks the column a"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        list(read_rows(tmp_path / "a.csv", "abc", "abc"))


def test_a_comment_is_json_or_one_sentence(tmp_path):
    (tmp_path / "a.csv").write_text('#{"t_start": 1.5}\nr,l,t\n')
    assert read_comment(tmp_path / "a.csv") == {"t_start": 1.5}
    for text, comment in (("r,l,t\n", {}), ("#[1]\n", {})):
        (tmp_path / "a.csv").write_text(text)
        assert read_comment(tmp_path / "a.csv") == comment
    for text in ("#{", "#" + "[" * 5000):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(UsageError, match="cannot read"):
            read_comment(tmp_path / "a.csv")


def test_steps_are_whole_and_measures_are_numbers():
    assert [whole(text) for text in ("1000.0", "1e3", "0")] == [1000, 1000, 0]
    assert measure("-2.5") == -2.5
    assert math.isnan(measure("nan"))
    for read, text in (
        (whole, "1.5"),
        (whole, "-1"),
        (whole, "1e30"),
        (whole, "nan"),
        (measure, "1e308"),
        (measure, "inf"),
    ):
        with pytest.raises(ValueError, match=r"is not a number of steps|is too large"):
            read(text)
