"""The corpus: its lines, its held-out tenth, and its vocabulary."""

import sys

import pytest

from ppo.envs import make_envs
from ppo.errors import UsageError
from ppo.text.corpus import read_lines, split, vocabulary_of


def test_rare_words_become_one_read_only_symbol():
    lines = ["The cat, the dog.", "The mouse!"]
    every = vocabulary_of(lines, "words")
    assert every.symbols == ("!", ",", ".", "cat", "dog", "mouse", "the")
    few = vocabulary_of(lines, "words", 3)
    assert few.symbols == ("!", ",", "the", "�")
    assert (few.end, len(few), few.size) == (3, 4, 5)
    assert few.encode("THE dog!") == few.encode("the � !") == [2, 4, 0]
    assert few.decode([2, 3, 4]) == "the �"
    with pytest.raises(UsageError, match="'bird' in 'the bird' is not in the vocabulary"):
        every.encode("the bird")
    with pytest.raises(UsageError, match="tokens = 'syllables' is unknown; choose characters, words, bpe"):
        vocabulary_of(lines, "syllables")
    for tokens in ("words", "bpe"):
        with pytest.raises(UsageError, match="size = -3 is out of range; choose 0 or more symbols"):
            vocabulary_of(lines, tokens, -3)


def test_a_replacement_character_in_the_corpus_is_the_unknown_symbol():
    vocabulary = vocabulary_of(["caf\N{REPLACEMENT CHARACTER} ab", "abc"], "characters")
    assert vocabulary.decode(vocabulary.encode("caf\N{REPLACEMENT CHARACTER}")) == "caf\N{REPLACEMENT CHARACTER}"
    assert vocabulary.encode("x") == vocabulary.encode("\N{REPLACEMENT CHARACTER}") == [vocabulary.end + 1]


def test_pieces_of_words_are_decoded_to_the_text(monkeypatch):
    lines = ["the lower the slower", "slow and low", "lower, slower, lowest"] * 4
    vocabulary = vocabulary_of(lines, "bpe", 30)
    assert vocabulary.symbols == vocabulary_of(lines, "bpe", 30).symbols
    assert any(len(symbol) > 3 for symbol in vocabulary.symbols)
    text = "the slowest, lower"
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(vocabulary.encode(text)) < len(text)
    for cut in range(len(vocabulary.encode(text))):  # a prompt may end within a word
        ids = vocabulary.encode(text)
        parts = vocabulary.decode(ids[:cut]), vocabulary.decode(ids[cut:])
        assert "".join(parts) == text
    ids = vocabulary.encode("slow § low")
    assert vocabulary.end + 1 in ids  # § is in none of the lines
    assert "\N{REPLACEMENT CHARACTER}" in vocabulary.decode(ids)
    with pytest.raises(UsageError, match="needs the number of pieces"):
        vocabulary_of(lines, "bpe")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match="pip install tokenizers"):
        vocabulary_of(lines, "bpe", 30)


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "cannot read"), (b"\xff\xfe", "is not text"), (b"\n \n", "has no text")]
)
def test_a_corpus_that_cannot_be_read_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        make_envs("text/NextToken-v0", 1, env_kwargs={"corpus": str(path)})


def test_every_tenth_line_is_held_out():
    training, held_out = split(list(range(25)), "corpus.txt")
    assert held_out == [0, 10, 20]
    assert sorted(training + held_out) == list(range(25))
    with pytest.raises(UsageError, match=r"corpus\.txt has 9 lines; give at least 10"):
        split(list(range(9)), "corpus.txt")


def test_lines_come_from_a_text_file_from_rated_texts_or_from_the_built_in_text(tmp_path):
    (tmp_path / "own.txt").write_text("one\n\n two\n")
    (tmp_path / "own.jsonl").write_text('{"text": "one\\n two"}\n{"text": " "}\n')
    assert read_lines(str(tmp_path / "own.txt")) == ["one", " two"]
    assert read_lines(str(tmp_path / "own.jsonl")) == ["one two"]
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\xe2\x80\xa8three\r\n")
    assert read_lines(str(tmp_path / "windows.txt")) == ["one", "two\u2028three"]
    assert read_lines("")[0].startswith("Alice was beginning")
