"""Rated texts are fetched safely, read strictly, and compared as people compared them."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import torch

from ppo.cli import main as cli
from ppo.errors import UsageError
from ppo.supervised.quality import quality
from ppo.supervised.reward_model import Comparisons, bradley_terry
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
    """Return a package as the real one is laid out, of two texts, with a file that wants to leave the folder."""
    files = {
        "hutto_ICWSM_2014/tweets_GroundTruth.txt": "1\t2.5\tWhat a caf\u00e9 &amp; bar\r\n2\t-1\tNo\tthanks\r\n".encode(),
        "hutto_ICWSM_2014/tweets_anonDataRatings.txt": "\ufeff1\t2.5\t0.5\t[2, 3]\r\n2\t-1\t0\t[-1, -1]\r\n".encode(),
        "../../outside.txt": b"gone",
    } | changes  # fmt: skip
    return archive({ratings.ARCHIVE: archive(files), "/etc/outside": b"gone"})


def test_a_set_is_read_from_the_package_and_nothing_else_of_it_reaches_the_disk(tmp_path, monkeypatch):
    data = package()
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ratings, "_download", lambda: data)
    monkeypatch.setattr(ratings, "extract", lambda got, prefix: extract(got, prefix, hashlib.sha256(data).hexdigest()))
    with pytest.raises(UsageError, match="hutto-tweets is not on this machine yet; fetch it by: ppo data hutto-tweets"):
        read("hutto-tweets")
    path = fetch("hutto-tweets")
    assert read("hutto-tweets") == Ratings(["What a café & bar", "No\tthanks"], [[2, 3], [-1, -1]], [])
    assert read_lines("hutto-tweets") == ["What a café & bar", "No thanks"]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    monkeypatch.setattr(ratings, "_download", lambda: 1 / 0)
    assert fetch("hutto-tweets") == path  # once is enough


def test_a_package_with_another_digest_or_without_the_set_is_not_used():
    data = package()
    with pytest.raises(UsageError, match="another SHA-256"):
        extract(data, "tweets")
    with pytest.raises(UsageError, match="does not hold amazonReviewSnippets"):
        extract(data, "amazonReviewSnippets", hashlib.sha256(data).hexdigest())


def test_without_a_network_it_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", "hutto-tweets"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "cannot fetch vaderSentiment==3.3.2" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no lines"),
        ("text", "line 1 is no"),
        ('{"text": "a", "ratings": []}', "are no list of numbers"),
        ('{"text": "a", "ratings": [1]}\n{"text": "b"}', "ratings for some of its texts only"),
        ('{"text": 3}', "3 is no text"),
        ('{"chosen": "a"}', "rejected"),
        ("[1]", "line 1 is no"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path, content, sentence):
    path = tmp_path / "own.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read(str(path))


def test_a_file_of_ones_own_is_looked_at(tmp_path, capsys):
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


def test_a_text_is_preferred_as_often_as_a_rater_of_it_says_more_than_one_of_the_other():
    given = Ratings(["a", "b", "c"], [[1, 2], [2, 3], [-1.5, -1.5]], [])
    found = Comparisons(given, "all")(np.array([1, 0, 2]))
    # b against a: 2 > 1, 2 = 2, 3 > 1, 3 > 2
    expected = [[float("nan"), 0.875, 1], [0.125, float("nan"), 1], [0, 0, float("nan")]]
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)
    assert Comparisons(given, "even")(np.array([0, 1]))[0, 1] == 0  # 1 against 2
    with pytest.raises(UsageError, match="raters = 'odd' leaves a text without a rating"):
        Comparisons(Ratings(["a"], [[1]], []), "odd")


def test_pairs_say_that_the_first_is_preferred_and_nothing_else():
    found = Comparisons(Ratings([*"abcd"], [], [(0, 1), (2, 3)]), "all")(np.array([2, 3, 0, 1]))
    assert found.nan_to_num(-1).tolist() == [[-1, 1, -1, -1], [-1] * 4, [-1, -1, -1, 1], [-1] * 4]


def test_bradley_terry_is_the_log_likelihood_of_what_was_preferred():
    nan = float("nan")
    loss = bradley_terry(torch.tensor([1.0, -1.0]), torch.tensor([[nan, 0.75], [nan, nan]]))
    assert float(loss) == pytest.approx(-0.75 * np.log(1 / (1 + np.exp(-2))) - 0.25 * np.log(1 / (1 + np.exp(2))))


def test_the_figures_are_those_of_comparisons_whose_answer_is_known():
    given = Ratings([""] * 30, [[float(n)] * 3 for n in range(30)], [])
    best = quality(np.arange(30.0), given, np.arange(30), np.arange(30))
    assert (best.accuracy, best.agreement, best.ceiling) == (1, 1, 1)
    assert best.by_length == (1, 1, 1)
    assert best.calibration == pytest.approx(0, abs=0.06)  # σ(1) for neighbours, who are told apart surely
    assert quality(-np.arange(30.0), given, np.arange(30), np.arange(30)).accuracy == 0
    rng = np.random.default_rng(1)
    noisy = Ratings([""] * 300, rng.choice([0.0, 1.0], size=(300, 20)).tolist(), [])
    chance = quality(rng.normal(size=300), noisy, np.arange(300), np.arange(300))
    assert chance.agreement == pytest.approx(0.5, abs=0.02)
    assert chance.accuracy == pytest.approx(0.5, abs=0.03)
    pairs = quality(np.array([1.0, 0, 0, 1]), Ratings([""] * 4, [], [(0, 1), (2, 3)]), np.arange(4), np.ones(4))
    assert (pairs.accuracy, pairs.comparisons) == (0.5, 2)
    assert np.isnan(pairs.agreement)
