"""A dialogue: the user answers as they should, the expert knows how to talk to them, a policy learns it."""

import io

import numpy as np
import pytest

from ppo import Trainer, preset
from ppo.cli import main as cli
from ppo.supervised.pretrain import _shown
from ppo.text import Task, TokenEnv, Vocabulary
from ppo.text.tasks.dialogue import COST, INVALID, SUCCESS, TURNS, User, dialogue, draw, expert, follow

WISH = {"wish": "refund", "item": "phone", "problem": "late"}
PLAIN = User(WISH, ("item",), (False,) * TURNS, (None,) * TURNS)


def user(**changes):
    return User(**{"wish": WISH, "greeting": (), "unheard": PLAIN.unheard, "corrections": PLAIN.corrections} | changes)


@pytest.mark.parametrize(
    ("turns", "reply", "done", "invalid"),
    [
        (["ask wish"], "i want a refund", False, 0),
        (["ask problem"], "it is late", False, 0),
        (["ask"], "sorry", False, 1),
        (["phone do", ""], "sorry", False, 2),
        (["do refund phone"], "sorry", False, 1),
        (["do phone refund late"], "sorry", False, 1),
        (["ask wish", "ask wish"], None, False, 0),  # told just now: the user leaves
        (["ask wish", "ask item", "ask wish"], "i want a refund", False, 0),
        (["do refund phone late"], None, True, 0),
        (["do repair phone late"], None, False, 0),
        (["ask"] * TURNS, None, False, TURNS),
    ],
)
def test_the_user_answers(turns, reply, done, invalid):
    talk = follow(PLAIN, tuple(turns))
    assert (talk.reply, talk.done, talk.invalid) == (reply, done, invalid)


def test_a_question_that_was_not_understood_may_be_asked_again():
    deaf = user(unheard=(True,) + (False,) * 9)
    assert follow(deaf, ("ask wish",)).reply == "sorry"
    assert follow(deaf, ("ask wish", "ask wish")).reply == "i want a refund"


def test_a_correction_changes_what_is_to_be_done():
    other = user(corrections=(("item", "laptop"), *(None,) * 9))
    assert follow(other, ("ask wish",)).reply == "i want a refund no my laptop"
    assert not follow(other, ("ask wish", "do refund phone late")).done
    assert follow(other, ("ask wish", "do refund laptop late")).done
    assert follow(other, ("ask item",)).reply == "my phone"  # asked for it, the user tells what it was
    assert other.wish == WISH


def test_the_expert_succeeds_with_every_user_in_three_and_a_half_turns():
    turns = []
    for seed in range(2000):
        parts = expert(np.random.default_rng(seed))
        assert follow(draw(np.random.default_rng(seed)), parts[1::2]).done
        turns.append(len(parts[1::2]))
    assert 1 <= min(turns) <= max(turns) <= TURNS
    assert np.mean(turns) == pytest.approx(3.55, abs=0.1)  # what docs/text.md says


def test_the_expert_in_the_environment_earns_what_its_turns_leave():
    env = TokenEnv(dialogue(), 1)
    for seed in range(20):
        env.reset(seed=seed)
        parts = expert(np.random.default_rng(seed))
        script = [token for turn in parts[1::2] for token in [*env.vocabulary.encode(turn), env.end]]
        infos, done = {"valid": env._valid()}, False
        while not done:
            valid = bool(infos["valid"][0])
            _, _, terminated, _, infos = env.step(np.array([script.pop(0) if valid else 0]))
            done = bool(terminated[0])
        (completion, value) = env.finished[0]
        seen = [completion.prompt, *completion.said]
        assert tuple(seen) == parts
        assert script == []
        assert value == pytest.approx(SUCCESS - COST * len(parts[1::2]))
        assert infos["metrics"]["solved"][0] == 1
        assert infos["metrics"]["turns"][0] == len(parts[1::2])


def test_a_turn_that_says_nothing_costs():
    env = TokenEnv(dialogue(), 1)
    env.reset(seed=0)
    env.step(np.array([0]))
    total = 0.0
    for _ in range(100):
        _, reward, terminated, _, _ = env.step(np.array([env.end]))
        total += reward[0]
        if terminated[0]:
            break
    assert total == pytest.approx(-TURNS * (COST + INVALID))


def test_a_turn_that_the_limit_cuts_was_not_said():
    env = TokenEnv(dialogue(), 1)
    env.reset(seed=0)
    do = ["do", *(env.infos[0].wish[slot] for slot in ("wish", "item", "problem"))]
    script = [*["ask"] * (5 * TURNS - len(do) - 1), None, *do]  # None ends a turn
    infos, done = {"valid": env._valid()}, False
    while not done:
        word = script.pop(0) if infos["valid"][0] else None
        _, reward, terminated, _, infos = env.step(np.array([env.vocabulary.encode(word)[0] if word else env.end]))
        done = bool(terminated[0])
    assert script == []
    assert (infos["metrics"]["ended"][0], infos["metrics"]["solved"][0], reward[0] < 0) == (0, 0, True)


def test_only_the_turns_of_the_policy_are_learnt(tmp_path):
    vocabulary = Vocabulary("abc", "", "xy")
    task = Task(vocabulary, None, 9, demonstrate=lambda rng: ("x", "ab", "yx", "c"))
    config = preset("text/Dialogue-v0")[1].replace({"runs_dir": str(tmp_path), "num_envs": 1, "num_minibatches": 1})
    trainer = Trainer(config, TokenEnv(task, 1))
    pairs = iter([trainer.envs.unwrapped.demonstrate(None)] * 2)
    shown = next(_shown(pairs, trainer, 9, 1))
    end, x, y = 3, 4, 5
    assert shown.obs[:, 0].tolist() == [end, x, 0, 1, end, y, x, 2, end]
    assert shown.valid[:, 0].tolist() == [False, True, True, True, False, False, True, True, False]
    assert shown.actions[:, 0][shown.valid[:, 0]].tolist() == [0, 1, end, 2, end]
    assert shown.actions.max() <= end


def test_a_person_takes_the_users_side(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 32 --num-minibatches 2 --state-size 16 --threads 1 --total-timesteps 1000"
    cli.main(f"pretrain text/Dialogue-v0 {small}".split())
    cli.main(f"pretrain text/Reverse-v0 {small}".split())
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("hello my toaster\nhello my phone\n\n"))
    cli.main(["chat", "runs/text_Dialogue-v0__pretrain__s1"])
    out = capsys.readouterr().out
    assert "it knows these words: ask broken" in out
    assert "'toaster' in 'hello my toaster' is none of the" in out
    assert out.splitlines()[-1].strip().removeprefix("you  ").startswith("hello my phone →")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["chat", "runs/text_Reverse-v0__pretrain__s1"])
    assert stopped.value.code == 2
    assert "its environment answers nothing" in capsys.readouterr().err
