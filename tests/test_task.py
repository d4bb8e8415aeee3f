"""The task: its arguments are checked, its functions called, and their mistakes named."""

import math

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from ppo import UsageError
from ppo.text import Completion, Task, Vocabulary
from ppo.text.task import call

ABC = Vocabulary("abc")
RNG = np.random.default_rng(0)


def lengths(completions):
    return [float(len(c.response)) for c in completions]


def task(**settings):
    return Task(**{"vocabulary": ABC, "reward": lengths, "max_tokens": 3} | settings)


def completion(prompt="ab", response="c", ended=True):
    return Completion(ABC, tuple(ABC.encode(prompt)), tuple(ABC.encode(response)), ended)


def test_a_prompt_is_drawn_as_tokens_with_its_info():
    assert task().draw(RNG) == ([], None)
    assert task(prompt=lambda rng: "ab").draw(RNG) == ([0, 1], None)
    assert task(prompt=lambda rng: ("c", 7)).draw(RNG) == ([2], 7)


def allowed(mask):
    return task(mask=lambda cs: mask).allowed([completion()]).tolist()


def test_a_mask_is_of_truths_or_of_ones():
    assert allowed([[True, False, True, True]]) == allowed([[1, 0, 1, 1]]) == allowed([[1.0, 0.0, 1.0, 1.0]])
    assert task().allowed([completion()]).tolist() == [[True] * 4]


def test_replies_and_demonstrations_are_tokens():
    assert task(reply=lambda cs: ["ab", None]).replies([completion()] * 2) == [[0, 1], None]
    assert task().replies([completion()]) == [None]
    assert task().demonstration(("ab", "c")) == task().demonstration(["ab", "c"]) == ([0, 1], [2])


def test_scores_are_the_reward_or_a_metric_and_zero_without_a_reward():
    made = task(metrics={"double": lambda cs: [2 * len(c.response) for c in cs]})
    assert made.score([completion(), completion(response="ab")]).tolist() == [1, 2]
    assert made.score([completion()], "double").tolist() == [2]
    assert task(reward=None).score([completion()]).tolist() == [0]


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (lambda cs: [math.nan for c in cs], "the reward of 'ab' → 'c' is nan; return a finite number"),
        (lambda cs: [1 / (len(c.response) - 1) for c in cs], "the reward of 'ab' → 'c' raised ZeroDivisionError"),
        (lambda cs: [1.0, 2.0, 3.0], "the reward of 1 completions is 3 numbers; return one number for each"),
        (lambda cs: None, "the reward of 1 completions is None; return one number"),
        (lambda cs: ["good" for c in cs], "return one number for each"),
    ],
)
def test_a_reward_that_cannot_be_used_names_the_sequence(reward, sentence):
    with pytest.raises(UsageError, match=sentence):
        task(reward=reward).score([completion()])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: task(max_tokens=0), "max_tokens = 0 is too small; choose at least 1"),
        (lambda: task(min_tokens=3), "min_tokens = 3 is out of range; choose 0 to 2"),
        (lambda: task(metrics=lengths), "metrics = <function lengths at .* has the wrong type; give functions by name"),
        (lambda: task(vocabulary="abc"), "vocabulary = 'abc' has the wrong type; give a Vocabulary"),
        (lambda: task(reward=3), "reward = 3 has the wrong type; give a function"),
        (lambda: task(metrics={"reward": lengths}), "every text task has a metric 'reward'; give yours another name"),
        (lambda: task(prompt=lambda rng: 5).draw(RNG), "the task's prompt function returned 5; return a text"),
        (
            lambda: task(prompt=lambda rng: 1 / 0).draw(RNG),
            "prompt function raised ZeroDivisionError: division by zero",
        ),
        (lambda: task(prompt=lambda rng: "abcab", max_prompt=4).draw(RNG), "5 tokens, more than max_prompt = 4"),
        (lambda: task(max_tokens=2.5), "max_tokens = 2.5 has the wrong type; give a whole number"),
        (lambda: task(per_token="yes"), "per_token = 'yes' has the wrong type; give True or False"),
        (lambda: task(missing_end=math.nan), "missing_end = nan is not finite; choose a number"),
        (lambda: task(metrics={"short": 3}), "the metric 'short' = 3 has the wrong type; give a function"),
        (lambda: task(features=(Discrete(2), 3)), "has the wrong type; give a space and a function"),
        (lambda: task(demonstrate=5), "demonstrate = 5 has the wrong type; give a function or a list"),
        (lambda: task().demonstration("ab"), "a demonstration is 'ab'; give a pair of prompt and response"),
        (lambda: task().demonstration(("ab",)), r"a demonstration is \('ab',\); give a pair of prompt and response"),
        (lambda: task().demonstration(("ab", 3)), "a demonstration's text is 3, which is not a text"),
        (
            lambda: task(reply=lambda cs: None).replies([completion()]),
            "returned None to 1 completions; return one for each",
        ),
        (lambda: task(reply=lambda cs: "a").replies([completion()]), "returned 'a' to 1 completions"),
        (lambda: task(reply=lambda cs: [3]).replies([completion()]), "the reply is 3, which is not a text; give a str"),
        (lambda: allowed([[0.5, 1, 1, 1]]), "the mask of 1 completions holds 0.5; give True where a token may follow"),
        (lambda: allowed([["a"] * 4]), "the mask of 1 completions holds a; give True"),
        (lambda: allowed([[1, 1]]), r"the mask of 1 completions has the shape \(1, 2\); it must be \(1, 4\)"),
        (lambda: call("mask", lambda: 1 / 0), "the task's mask function raised ZeroDivisionError"),
        (lambda: task(max_prompt=-1), "max_prompt = -1 is too small; choose at least 0"),
        (lambda: task(metrics={3: lengths}), "the metric 3 = .* has the wrong type; give a function by its name"),
        (lambda: task().demonstration(("a", "b", "c", "a")), "but the task does not reply; give a pair of prompt"),
        (lambda: task(reward=lambda cs: ["1.5"]).score([completion()]), r"is \['1.5'\]; return one number for each"),
        (lambda: task(reward=lambda cs: [1j]).score([completion()]), r"is \[1j\]; return one number for each"),
        (lambda: allowed([[1], [1, 1]]), "the task's mask function raised ValueError"),
    ],
)
def test_a_mistake_is_one_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()
