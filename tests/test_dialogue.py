"""The dialogue task: the user replies by its rules, and the expert solves it."""

import numpy as np
import pytest

from ppo.text import TokenEnv
from ppo.text.tasks.dialogue import COST, INVALID, SUCCESS, TURNS, User, dialogue, draw_user, expert, simulate

REQUEST = {"wish": "refund", "item": "phone", "problem": "late"}
PLAIN = User(REQUEST, ("item",), (False,) * TURNS, (None,) * TURNS)


def user(**changes):
    plain = {"misunderstandings": PLAIN.misunderstandings, "corrections": PLAIN.corrections}
    return User(**{"request": REQUEST, "greeting": ()} | plain | changes)


@pytest.mark.parametrize(
    ("turns", "reply", "solved", "invalid"),
    [
        (["ask wish"], "i want a refund", False, 0),
        (["ask problem"], "it is late", False, 0),
        (["ask"], "sorry", False, 1),
        (["phone do", ""], "sorry", False, 2),
        (["do refund phone"], "sorry", False, 1),
        (["do phone refund late"], "sorry", False, 1),
        (["ask wish", "ask wish"], None, False, 0),  # the user has just answered this, and leaves
        (["ask wish", "ask item", "ask wish"], "i want a refund", False, 0),
        (["do refund phone late"], None, True, 0),
        (["do repair phone late"], None, False, 0),
        (["ask"] * TURNS, None, False, TURNS),
    ],
)
def test_the_user_replies(turns, reply, solved, invalid):
    state = simulate(PLAIN, tuple(turns))
    assert (state.reply, state.solved, state.invalid) == (reply, solved, invalid)


def test_a_question_that_was_not_understood_may_be_asked_again():
    confused = user(misunderstandings=(True,) + (False,) * 9)
    assert simulate(confused, ("ask wish",)).reply == "sorry"
    assert simulate(confused, ("ask wish", "ask wish")).reply == "i want a refund"


def test_a_correction_changes_the_request():
    other = user(corrections=(("item", "laptop"), *(None,) * 9))
    assert simulate(other, ("ask wish",)).reply == "i want a refund no my laptop"
    assert not simulate(other, ("ask wish", "do refund phone late")).solved
    assert simulate(other, ("ask wish", "do refund laptop late")).solved
    assert simulate(other, ("ask item",)).reply == "my phone"  # a correction of the same slot is ignored
    assert other.request == REQUEST


def test_the_expert_succeeds_with_every_user_in_three_and_a_half_turns():
    turns = []
    for seed in range(2000):
        parts = expert(np.random.default_rng(seed))
        assert simulate(draw_user(np.random.default_rng(seed)), parts[1::2]).solved
        turns.append(len(parts[1::2]))
    assert 1 <= min(turns) <= max(turns) <= TURNS
    assert np.mean(turns) == pytest.approx(3.55, abs=0.1)  # what docs/text.md says


def test_the_expert_earns_the_reward_of_success_minus_the_cost_of_its_turns():
    env = TokenEnv(dialogue(), 1)
    for seed in range(20):
        env.reset(seed=seed)
        parts = expert(np.random.default_rng(seed))
        script = [token for turn in parts[1::2] for token in [*env.vocabulary.encode(turn), env.vocabulary.end]]
        infos, done = {"valid": env._valid()}, False
        while not done:
            valid = bool(infos["valid"][0])
            _, _, terminated, _, infos = env.step(np.array([script.pop(0) if valid else 0]))
            done = bool(terminated[0])
        (completion, value) = env.samples[0]
        assert (completion.prompt, *completion.turns) == parts
        assert script == []
        assert value == pytest.approx(SUCCESS - COST * len(parts[1::2]))
        assert infos["solved"][0] == 1
        assert infos["turns"][0] == len(parts[1::2])


def test_an_empty_turn_is_invalid_and_costs():
    env = TokenEnv(dialogue(), 1)
    env.reset(seed=0)
    env.step(np.array([0]))
    total = 0.0
    for _ in range(100):
        _, reward, terminated, _, _ = env.step(np.array([env.vocabulary.end]))
        total += reward[0]
        if terminated[0]:
            break
    assert total == pytest.approx(-TURNS * (COST + INVALID))


def test_a_turn_that_the_limit_cuts_does_not_count():
    env = TokenEnv(dialogue(), 1)
    env.reset(seed=0)
    do = ["do", *(env.sequences.infos[0].request[slot] for slot in ("wish", "item", "problem"))]
    script = [*["ask"] * (5 * TURNS - len(do) - 1), None, *do]  # None ends a turn
    infos, done = {"valid": env._valid()}, False
    while not done:
        word = script.pop(0) if infos["valid"][0] else None
        _, reward, terminated, _, infos = env.step(
            np.array([env.vocabulary.encode(word)[0] if word else env.vocabulary.end])
        )
        done = bool(terminated[0])
    assert script == []
    assert (infos["ended"][0], infos["solved"][0], reward[0] < 0) == (0, 0, True)
