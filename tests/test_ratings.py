"""Rated texts are downloaded safely and read strictly."""

import hashlib
import io
import json
import tarfile

import pytest

from ppo.cli import main as cli
from ppo.errors import UsageError
from ppo.text import ratings
from ppo.text.corpus import read_lines
from ppo.text.ratings import Ratings, extract, fetch, read


def archive(files):
    """Return a tar.gz of name → bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def package(**changes):
    """Return a package as the real one is laid out, of two texts, with a file whose path leads out of the folder."""
    files = {
        "hutto_ICWSM_2014/tweets_GroundTruth.txt": "1\t2.5\tWhat a caf\u00e9 &amp; bar\r\n2\t-1\tNo\tthanks\r\n".encode(),
        "hutto_ICWSM_2014/tweets_anonDataRatings.txt": "\ufeff1\t2.5\t0.5\t[2, 3]\r\n2\t-1\t0\t[-1, -1]\r\n".encode(),
        "../../outside.txt": b"gone",
    } | changes  # fmt: skip
    return archive({ratings.ARCHIVE: archive(files), "/etc/outside": b"gone"})


def test_a_data_set_is_read_from_the_package_and_nothing_else_of_it_reaches_the_disk(tmp_path, monkeypatch):
    data = package()
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ratings, "_download", lambda: data)
    monkeypatch.setattr(ratings, "extract", lambda got, prefix: extract(got, prefix, hashlib.sha256(data).hexdigest()))
    with pytest.raises(UsageError, match="hutto-tweets has not been downloaded; run: ppo data hutto-tweets"):
        read("hutto-tweets")
    path = fetch("hutto-tweets")
    assert read("hutto-tweets") == Ratings(["What a café & bar", "No\tthanks"], [[2, 3], [-1, -1]], [])
    assert read_lines("hutto-tweets") == ["What a café & bar", "No thanks"]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    monkeypatch.setattr(ratings, "_download", lambda: 1 / 0)
    assert fetch("hutto-tweets") == path  # no second download


def test_a_package_with_another_digest_or_without_the_data_set_is_refused():
    data = package()
    with pytest.raises(UsageError, match=r"the SHA-256 of the downloaded vaderSentiment==3\.3\.2 is not"):
        extract(data, "tweets")
    with pytest.raises(UsageError, match="does not contain amazonReviewSnippets"):
        extract(data, "amazonReviewSnippets", hashlib.sha256(data).hexdigest())


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", "hutto-tweets"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "cannot download vaderSentiment==3.3.2" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no text"),
        ("text", "line 1 does not have the form"),
        ("[" * 100_000, "line 1 does not have the form .* RecursionError"),
        ('{"text": "a \\ud800", "ratings": [1]}', r"line 1: text = 'a \\ud800' has half of a character"),
        ('{"text": " ", "ratings": [1]}', "line 1: text = ' ' is empty; remove the line"),
        ('{"chosen": "a", "rejected": ""}', "line 1: rejected = '' is empty; remove the line"),
        ('{"chosen": "a", "rejected": "a"}', "line 1: chosen and rejected are the same text, 'a'; remove the line"),
        ('{"prompt": "a", "text": "b", "ratings": [1]}', "line 1 has a prompt, but only preferences .* have prompts"),
        ('{"prompt": 3, "chosen": "b", "rejected": "c"}', "line 1: prompt = 3 is not a text"),
        ('{"text": "a", "ratings": ["3"]}', "are not a list of numbers"),
        ('{"text": "a", "ratings": [true, false]}', "are not a list of numbers"),
        ('{"text": "a", "ratings": [1' + "0" * 400 + "]}", "line 1 does not have the form .* OverflowError"),
        ('{"text": "a", "ratings": []}', "are not a list of numbers"),
        ('{"text": "a", "ratings": [1]}\n{"text": "b"}', "ratings for only some of its texts"),
        ('{"text": 3}', "3 is not a text"),
        ('{"chosen": "a"}', "rejected"),
        ("[1]", "line 1 does not have the form"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, sentence):
    path = tmp_path / "own.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read(str(path))


def test_a_byte_order_mark_and_windows_line_ends_are_read_and_other_separators_are_part_of_a_text(tmp_path):
    path = tmp_path / "own.jsonl"
    text = "one\u2028two\x85three\x0cfour"
    rows = [json.dumps({"text": text, "ratings": [1]}, ensure_ascii=False), '{"text": "b", "ratings": [2]}']
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n")
    assert read(str(path)) == Ratings([text, "b"], [[1], [2]], [])


def test_the_texts_of_a_preference_share_its_prompt(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"chosen": "a", "rejected": "b"}\n{"prompt": "x y", "chosen": "c", "rejected": "d"}\n')
    assert read(str(path)) == Ratings([*"abcd"], [], [(0, 1), (2, 3)], {2: "x y", 3: "x y"})
    assert read_lines(str(path)) == ["a", "b", "x y c", "x y d"]


def test_a_file_of_the_user_is_summarised(tmp_path, capsys):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}", "ratings": [n, n, n]}) + "\n" for n in range(12)))
    cli.main(["data", "--file", str(path)])
    out = capsys.readouterr().out
    assert "12, with 2 to 2 words" in out
    assert "36 from 0 to 11, 3 to 3 per text" in out
    assert "1.000 of comparisons" in out
    for args in ([], ["hutto-movies", "--file", str(path)], ["none"]):
        with pytest.raises(SystemExit):
            cli.main(["data", *args])
