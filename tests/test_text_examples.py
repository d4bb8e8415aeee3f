"""Text as sequences to learn: which tokens count, and streams from window to window."""

import itertools

import torch

from ppo import Trainer, preset
from ppo.supervised.streams import tables
from ppo.supervised.text_examples import TextExamples, _pieces, rows
from ppo.text import Task, TokenEnv, Vocabulary


def test_only_the_turns_of_the_policy_are_learnt():
    end, x, y = 3, 4, 5  # x and y are read-only
    steps = rows(([x], [0, 1], [y, x], [2]), end)
    assert [token for token, *_ in steps] == [end, x, 0, 1, end, y, x, 2]
    assert [start for _, start, *_ in steps] == [True] + [False] * 7
    assert [valid for *_, valid, _ in steps] == [False, True, True, True, False, False, True, True]
    assert [action for *_, valid, action in steps if valid] == [0, 1, end, 2, end]
    assert max(action for *_, action in steps) <= end


def test_read_only_tokens_of_a_response_are_not_learnt():
    assert [(valid, action) for *_, valid, action in rows(([], [0, 5, 1]), 3)] == [
        (True, 0), (False, 3), (True, 1), (True, 3),
    ]  # fmt: skip


def test_streams_go_on_from_window_to_window(tmp_path):
    env = TokenEnv(Task(Vocabulary("abc"), None, 9, demonstrate=lambda rng: ("", "abcab")), 2)
    small = {"runs_dir": str(tmp_path), "num_envs": 2, "num_steps": 4, "num_minibatches": 1, "policy": "gru"}
    examples = TextExamples(Trainer(preset("text/Copy-v0").replace(small | {"compile": "off"}), env), env, "")
    pieces = _pieces(iter([([], [n % 3] * 5) for n in range(9)]), env.vocabulary.end)
    first, second = (examples.window(table) for table in itertools.islice(tables(pieces, 4, 2), 2))
    assert torch.cat([first.obs, second.obs])[:, 0].tolist() == [3, 0, 0, 0, 0, 0, 3, 2]
    assert torch.cat([first.starts, second.starts])[:, 1].tolist() == [True] + [False] * 5 + [True, False]


def test_held_out_sequences_that_are_also_learnt_are_noted(tmp_path):
    texts = [("", "abc"[n % 3] * (1 + n // 3)) for n in range(18)]
    small = {"runs_dir": str(tmp_path), "num_envs": 2, "num_steps": 4, "num_minibatches": 1, "policy": "gru"}
    notes = []
    for demonstrations in (texts, [*texts, texts[0], texts[0]]):  # 0 and 10 of 18 are held out, of 20 too
        env = TokenEnv(Task(Vocabulary("abc"), None, 9, demonstrate=demonstrations), 2)
        with Trainer(preset("text/Copy-v0").replace(small | {"compile": "off"}), env) as trainer:
            notes.append(TextExamples(trainer, env, "").notes)
    assert notes[0] == []
    assert [note.partition(" are")[0] for note in notes[1]] == ["1 of 2 held-out sequences"]
