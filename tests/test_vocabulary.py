"""The vocabulary: token ids of texts, and texts of token ids."""

import pytest

from ppo import UsageError
from ppo.text import Vocabulary


def test_the_end_token_follows_the_symbols_and_read_only_symbols_follow_it():
    vocabulary = Vocabulary("abc", "", "xy")
    assert vocabulary.encode("abcxy") == [0, 1, 2, 4, 5]
    assert vocabulary.decode([0, 3, 4, 2, 3]) == "axc"  # end tokens are left out
    assert (vocabulary.end, len(vocabulary), vocabulary.size) == (3, 4, 6)


def test_words_are_tokens_with_a_separator():
    words = Vocabulary(["well", "done"], " ")
    assert words.encode("done well  done") == [1, 0, 1]
    assert words.decode([1, 0, 2]) == "done well"


def test_a_function_splits_texts_and_an_unknown_symbol_stands_for_all_others():
    vocabulary = Vocabulary(["ab", "c"], "", ["?"], split=lambda text: text.split("-"), unknown="?")
    assert vocabulary.encode("c-ab-zebra") == [1, 0, 3]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Vocabulary(""), "the vocabulary has no symbols; give it at least one"),
        (lambda: Vocabulary(None), "the symbols None are not a list of texts; give one"),
        (lambda: Vocabulary([1, 2]), "the symbol 1 is not a text; give a str"),
        (lambda: Vocabulary("aba"), "the vocabulary has the symbol 'a' twice"),
        (lambda: Vocabulary("ab", "", "a"), "the vocabulary has the symbol 'a' twice"),
        (lambda: Vocabulary(["ab", "c"]), "the symbol 'ab' cannot be found in a text; use symbols of one character"),
        (lambda: Vocabulary(["a b"], " "), "the symbol 'a b' cannot be found in a text; use symbols without ' '"),
        (lambda: Vocabulary("abc").encode("abx"), r"'x' in 'abx' is not in the vocabulary \(3 symbols\)"),
        (lambda: Vocabulary("abc").encode("x", "the prompt"), r"'x' in the prompt 'x' is not in the vocabulary"),
        (lambda: Vocabulary("a\ud800"), r"the symbol '\\ud800' is half of a character"),
        (
            lambda: Vocabulary("a", "", "?", unknown="?").encode("a\udcff"),
            r"'\\udcff' in 'a\\udcff' is half of a character \(a lone surrogate\); remove it",
        ),
    ],
)
def test_a_mistake_is_one_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()
