"""The table of sequences: the current token, when the policy decides, and what a completion holds."""

import numpy as np
import pytest

from ppo.text import Vocabulary
from ppo.text.sequences import Sequences

A, B, C, END = range(4)
FIRST, BOTH = np.array([0]), np.array([0, 1])


@pytest.fixture
def sequences():
    """Two sequences, of the prompts ab and c."""
    table = Sequences(2, Vocabulary("abc"), 3)
    table.begin(BOTH, [([A, B], "info"), ([C], None)])
    return table


def test_the_policy_decides_at_the_last_token(sequences):
    rows = []
    for _ in range(3):
        rows.append((sequences.current_tokens().tolist(), sequences.at_last_token().tolist()))
        sequences.positions += ~sequences.at_last_token()
    assert rows == [([END, END], [False, False]), ([A, C], [False, True]), ([B, C], [True, True])]


def test_a_completion_is_the_prompt_and_the_response_without_its_end_token(sequences):
    sequences.append(BOTH, np.array([C, A]))
    sequences.append(FIRST, np.array([END]))
    first, second = sequences.completions(BOTH)
    assert (first.prompt, first.response, first.ended, first.info) == ("ab", "c", True, "info")
    assert (second.prompt, second.response, second.ended, second.info) == ("c", "a", False, None)
    assert sequences.decisions.tolist() == [2, 1]


def test_a_prompt_alone_has_not_ended():
    sequences = Sequences(1, Vocabulary("abc"), 3)
    sequences.begin(FIRST, [([], None)])
    assert not sequences.completions(FIRST)[0].ended


def test_a_completion_is_split_into_turns_and_replies(sequences):
    sequences.append(FIRST, np.array([A]))
    sequences.append(FIRST, np.array([END]))
    sequences.append_reply(0, [C, B])
    sequences.append(FIRST, np.array([B]))
    (completion,) = sequences.completions(FIRST)
    assert completion.turns == ("a", "cb", "b")
    assert (completion.response, sequences.decisions[0]) == ("acbb", 3)


def test_long_prompts_and_replies_widen_the_table_and_keep_the_other_rows(sequences):
    sequences.append(BOTH, np.array([A, B]))
    sequences.begin(FIRST, [([C] * 50, None)])
    sequences.append_reply(0, [A] * 100)
    first, second = sequences.completions(BOTH)
    assert (first.prompt, first.response) == ("c" * 50, "a" * 100)
    assert (second.prompt, second.response) == ("c", "b")


def test_a_new_sequence_forgets_the_one_before(sequences):
    sequences.append(BOTH, np.array([A, A]))
    sequences.append_reply(0, [B])
    sequences.begin(FIRST, [([B], "new")])
    (completion,) = sequences.completions(FIRST)
    assert (completion.prompt, completion.turns, completion.info) == ("b", ("",), "new")
    assert (sequences.current_tokens()[0], sequences.decisions[0]) == (END, 0)
