"""The completion: its text."""

from ppo.text import Completion, Vocabulary

ABC = Vocabulary("abc")


def test_a_completion_is_printed_in_one_line():
    assert str(Completion(ABC, (0, 1), (2,), True)) == "ab → c"
    assert str(Completion(ABC, (0, 1), (2,), False)) == "ab → c …"
    assert str(Completion(ABC, (0,), (1, 3, 2, 0), True, turn_ids=((1, 3), (2,), (0,)))) == "a → b / c / a"
