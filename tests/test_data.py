"""The command on rated texts: what it prints, and what it refuses."""

import io

import pytest
from command_line import refused
from rich.console import Console

from ppo.cli.data import summarise


@pytest.mark.parametrize("args", ["data", "data hutto-movies --file mine.jsonl"])
def test_without_one_subject_the_command_is_refused(capsys, args):
    assert refused(capsys, *args.split()) == "give either the name of a set (for example hutto-movies) or --file FILE"


def test_a_summary_of_rated_texts(tmp_path):
    path = tmp_path / "rated.jsonl"
    path.write_text('{"text": "good film", "ratings": [3, 4]}\n{"text": "a bad film", "ratings": [-3, -1, -2]}\n')
    output = io.StringIO()
    summarise("", path, Console(file=output, soft_wrap=True))
    assert [line.strip() for line in output.getvalue().splitlines()][1:] == [
        "texts  2, with 2 to 3 words",
        "ratings  5 from -3 to 4, 2 to 3 per text",
        "agreement  two raters order a pair of texts the same way in 1.000 of comparisons",
        "first text  good film",
    ]
