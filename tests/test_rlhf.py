"""From ratings to a tuned policy, in small: the report's figures are what they say."""

import json

import numpy as np
import pytest

from benchmarks import rlhf
from benchmarks.judges import vader
from ppo.text import Completion, Vocabulary

GOOD, BAD, PLAIN = ("great", "lovely", "superb"), ("awful", "boring", "dull"), ("film", "plot", "cast", "scene")


@pytest.fixture
def reviews(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(400):
        mood = int(rng.integers(2))
        words = [str(rng.choice((BAD, GOOD)[mood] if rng.random() < 0.5 else PLAIN)) for _ in range(rng.integers(3, 7))]
        worth = sum(word in GOOD for word in words) - sum(word in BAD for word in words)
        ratings = [float(np.clip(worth + rng.integers(-1, 2), -4, 4)) for _ in range(6)]
        lines.append(json.dumps({"text": " ".join(words), "ratings": ratings}))
    path = tmp_path / "reviews.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


def test_the_lexicon_knows_praise():
    vocabulary = Vocabulary([*GOOD, *BAD, *PLAIN], " ")
    said = [
        Completion(vocabulary, (), tuple(vocabulary.encode(text)), True)
        for text in ("superb film", "awful film", "film")
    ]
    praise, blame, neither = vader(said)
    assert praise > 0.4 > neither == 0 > -0.2 > blame


def test_distinct_counts_pairs_once():
    assert rlhf.distinct([[1, 2, 3], [1, 2], [4]]) == 2 / 3


def test_it_ends_in_a_report(tmp_path, monkeypatch, reviews):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    small = {
        "DATA": reviews, "WRITE": {"corpus": reviews, "size": 20, "max_tokens": 8}, "BETAS": (0.0, 0.5), "SEEDS": (1,),
        "READ": 20_480, "RATED": 15_000, "STEPS": 16_384, "SAMPLES": 100, "FEW": 40, "FREE": 16_384, "RESULTS": tmp_path / "results",
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(rlhf, name, value)
    monkeypatch.setattr(rlhf.ratings, "fetch", lambda name: None)
    rlhf.main(jobs=2)
    everything = [rlhf.Point(**row) for row in json.loads((tmp_path / "results" / "rlhf.json").read_text())]
    points, loose = ([p for p in everything if p.model == kind] for kind in ("all", "few"))
    assert loose[-1].reward > loose[0].reward + 0.3
    assert loose[-1].kl > 0
    begin = [p for p in points if p.step == 0]
    assert all(p.kl == 0 for p in begin)
    assert len({p.step for p in points}) > 2
    last = max(p.step for p in points)
    free, near = ([p for p in points if (p.beta, p.step) == (beta, last)] for beta in (0.0, 0.5))
    assert len(free) == len(near) == 1
    assert np.mean([p.reward for p in free]) > np.mean([p.reward for p in begin]) + 0.3
    assert np.mean([p.vader for p in free]) > np.mean([p.vader for p in begin])
    assert 0 < np.mean([p.kl for p in near]) < np.mean([p.kl for p in free])
    report = (tmp_path / "results" / "rlhf.md").read_text()
    assert "| language model |" in report
    assert "| β 0.5 |" in report
    assert "β 0.0 ends" in report  # the smallest that stays within ten nats
    assert rlhf.within(points, 0) == 0.5  # none does
    assert rlhf.counted()["accuracy"] > 0.7  # words are all that there is here
    assert (tmp_path / "results" / "rlhf.png").stat().st_size > 10_000
