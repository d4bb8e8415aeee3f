"""From ratings to a tuned policy, in small, and the report's figures."""

import json

import numpy as np
import pytest

from benchmarks import rlhf
from benchmarks.judges import vader
from benchmarks.runs import settings
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
    completions = [
        Completion(vocabulary, (), tuple(vocabulary.encode(text)), True)
        for text in ("superb film", "awful film", "film")
    ]
    praise, blame, neither = vader(completions)
    assert praise > 0.4 > neither == 0 > -0.2 > blame


def test_distinct_counts_pairs_once():
    assert rlhf.distinct([[1, 2, 3], [1, 2], [4]]) == 2 / 3


def test_it_ends_in_a_report(tmp_path, monkeypatch, reviews):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    sizes = {
        "DATA": reviews, "WRITE": {"corpus": reviews, "size": 20, "max_tokens": 8}, "BETAS": (0.0, 1.0), "SEEDS": (1,),
        "LANGUAGE_TOKENS": 8192, "REWARD_TOKENS": 6000, "STEPS": 4096, "FEW": 40, "FEW_STEPS": 4096, "SAMPLES": 100,
        "RESULTS": tmp_path / "results", "PAGES": tmp_path / "results",
    }  # fmt: skip
    small = {
        "num_envs": 32, "num_steps": 32, "num_minibatches": 4, "update_epochs": 2, "learning_rate": 3e-3,
        "checkpoint_every": 2, "compile": "off",
    }  # fmt: skip
    for name, value in sizes.items():
        monkeypatch.setattr(rlhf, name, value)
    monkeypatch.setattr(rlhf, "settings", lambda *args, **more: settings(*args, **small | more))
    monkeypatch.setattr(rlhf.ratings, "fetch", lambda name: None)
    monkeypatch.setattr(rlhf.pages, "write", lambda: None)
    rlhf.main(jobs=2)
    rows = [rlhf.Point(**row) for row in json.loads((tmp_path / "results" / "rlhf.json").read_text())["results"]]
    points, few = ([p for p in rows if p.model == kind] for kind in ("all", "few"))
    assert few[-1].reward > few[0].reward + 0.3
    assert few[-1].kl > 0
    assert {p.step for p in points} == {0, 2048, 4096}
    start, *_ = (p for p in points if p.step == 0)
    free, penalized = (p for p in points if p.step == 4096)
    assert (free.beta, penalized.beta, start.kl) == (0, 1, 0)
    assert free.reward > start.reward + 0.3
    assert free.vader > start.vader
    assert 0 < penalized.kl < free.kl
    page = rlhf.pages.render("rlhf", tmp_path / "results")
    assert "| language model |" in page
    assert "| β 1.0 |" in page
    assert "penalty of weight β 0.0 a judge" in page  # the smallest that stays within ten nats
    assert rlhf.within(points, 0) == 1.0  # neither does
    assert rlhf.ridge_quality()["accuracy"] > 0.7  # in these texts, words are everything
    assert (tmp_path / "results" / "rlhf.png").stat().st_size > 10_000
