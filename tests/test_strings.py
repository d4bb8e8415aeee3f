"""String tasks: their answers, demonstrations and rewards."""

import dataclasses

import numpy as np
import pytest

from ppo import UsageError
from ppo.text import TokenEnv
from ppo.text.tasks.strings import add, copy, dedup, reverse


@pytest.mark.parametrize(("make", "pairs"), [
    (copy, {"abca>": "abca"}), (reverse, {"abc>": "cba"}), (dedup, {"aabbba>": "aba"}),
    (add, {"87+125=": "212", "9+1=": "01", "0+0=": "0"}),
])  # fmt: skip
def test_the_answers_of_string_tasks(make, pairs):
    made = make()
    env = TokenEnv(made, 1)
    for prompt, answer in pairs.items():
        env.task = dataclasses.replace(made, prompt=lambda rng, prompt=prompt: prompt)
        env.reset(seed=0)
        tokens = [0] * len(prompt) + [*made.vocabulary.encode(answer), env.vocabulary.end]
        *_, (_, _, terminated, _, infos) = [env.step(np.array([token])) for token in tokens]
        assert (env.samples[0][1], bool(terminated[0])) == (len(answer) + 1, True)
        assert [infos[name][0] for name in ("solved", "invalid", "ended")] == [1, 0, 1]


@pytest.mark.parametrize("make", [copy, reverse, dedup, add])
def test_demonstrations_get_the_highest_reward(make):
    task, rng = make(), np.random.default_rng(0)
    env = TokenEnv(task, 1)
    for _ in range(50):
        prompt, response = env.demonstrate(rng)
        text = task.vocabulary.decode(prompt)
        env.task = dataclasses.replace(task, prompt=lambda rng, text=text: text)
        env.reset(seed=0)
        *_, last = [env.step(np.array([token])) for token in [0] * len(prompt) + [*response, task.vocabulary.end]]
        assert last[2][0]
        assert last[-1]["ended"][0] == 1
        assert env.samples[0][1] == len(response) + 1


@pytest.mark.parametrize(
    ("answer", "rewards"),
    [("cba", [1, 1, 1, 1]), ("cbb", [1, 1, 0, 1]), ("cb", [1, 1, 0]), ("xba", [0, 1, 1, 1]), ("", [0])],
)
def test_each_correct_position_is_rewarded_at_once_and_all_of_them_solve(answer, rewards):
    made = reverse(length=3)
    env = TokenEnv(dataclasses.replace(made, prompt=lambda rng: "abc>"), 1)
    env.reset(seed=0)
    tokens = [0] * 4 + [*made.vocabulary.encode(answer), env.vocabulary.end]
    steps = [env.step(np.array([token])) for token in tokens]
    assert [reward[0] for _, reward, *_ in steps] == [0] * 4 + rewards
    assert steps[-1][-1]["solved"][0] == all(rewards)


def test_tokens_after_the_correct_answer_are_not_rewarded():
    made = copy(length=3)
    env = TokenEnv(dataclasses.replace(made, prompt=lambda rng: "ab>"), 1)
    env.reset(seed=0)
    rewards = [env.step(np.array([token]))[1][0] for token in [0] * 3 + made.vocabulary.encode("abab")]
    assert rewards == [0, 0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: copy(length=0), "length = 0 is out of range; choose 1 to 1000"),
        (lambda: dedup(letters=27), "letters = 27 is out of range; choose 1 to 26"),
        (lambda: add(digits=19), "digits = 19 is out of range; choose 1 to 18"),
    ],
)
def test_an_argument_out_of_range_is_one_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()
