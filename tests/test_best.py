"""The best: the sequences are the environment's own, the best distinct ones stay, and the distinct ones are counted."""

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from rollouts import make_rollout

from ppo import preset
from ppo.envs.spaces import Packer
from ppo.loop import best
from ppo.loop.assemble import assemble
from ppo.loop.best import Best, Distinct, as_text
from ppo.loop.episodes import Episode
from ppo.text import TokenEnv, Vocabulary

SMALL = {"num_envs": 8, "num_steps": 7, "num_minibatches": 1, "state_size": 8, "hidden_sizes": [8], "compile": "off"}
SMALL |= {"policy": "gru", "threads": 1}


@pytest.mark.parametrize(
    ("env_id", "algorithm"), [("text/RandomWalks-v0", "ppo"), ("text/Dialogue-v0", "ppo"), ("text/Copy-v0", "grpo")]
)
def test_the_sequences_are_those_of_the_environment_also_across_rollouts(env_id, algorithm, monkeypatch):
    seen, metrics = {}, TokenEnv._metrics

    def record(env, rows):
        result = metrics(env, rows)
        for n in rows.tolist():
            completion, value = env.samples[n]
            seen[str(completion)] = max(value, seen.get(str(completion), value))
        return result

    monkeypatch.setattr(TokenEnv, "_metrics", record)
    monkeypatch.setattr(best, "KEEP", 10**6)
    settings = SMALL | ({"group_size": 4} if algorithm == "grpo" else {})
    parts = assemble(preset(env_id, algorithm, "gru").replace(settings | {"total_timesteps": 10**6}))
    parts.collector.reset(3)
    finished = 0
    for step in range(12):
        rollout, episodes = parts.collector.collect(7)
        finished += len(episodes)
        row = parts.best.add(rollout, episodes, step)
    lines = parts.best.lines()
    assert finished > 5
    assert {as_text(line): line["return"] for line in lines} == pytest.approx(seen)
    assert row == {"text/best_return": max(seen.values()), "text/uniqueness": len(lines) / finished}
    parts.collector.reset(3)  # what was under way is forgotten
    parts.best.add(*parts.collector.collect(7), 99)
    assert {as_text(line) for line in parts.best.lines()} == set(seen)


def added(memory, texts, step):
    """Add one finished sequence for each (letter, return)."""
    rollout = make_rollout(1, len(texts))
    rollout.obs = torch.full((1, len(texts)), 26)
    rollout.starts = rollout.terminated = torch.ones(1, len(texts), dtype=torch.bool)
    rollout.actions = torch.tensor([["abcdefghijklmnopqrstuvwxyz".index(letter) for letter, _ in texts]])
    return memory.add(rollout, [Episode(n, value, 1) for n, (_, value) in enumerate(texts)], step)


def memory():
    return Best(Vocabulary("abcdefghijklmnopqrstuvwxyz"), Packer(Discrete(27)))


def found(memory):
    return [(line["response"], line["return"], line["step"]) for line in memory.lines()]


def test_the_best_distinct_sequences_stay_with_their_highest_return_and_its_first_step(monkeypatch, tmp_path):
    monkeypatch.setattr(best, "KEEP", 3)
    own = memory()
    assert own.state_dict() == {}
    own.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    added(own, [("a", 1.0), ("b", -2.0), ("c", 0.0), ("c", 0.5)], 10)
    assert found(own) == [("a", 1.0, 10), ("c", 0.5, 10), ("b", -2.0, 10)]
    row = added(own, [("d", 1.0), ("a", 0.0), ("b", 0.5), ("c", 0.5)], 20)
    assert found(own) == [("a", 1.0, 10), ("d", 1.0, 20), ("c", 0.5, 10)]
    assert row == {"text/best_return": 1.0, "text/uniqueness": 4 / 8}
    own.write(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "best.jsonl").read_text().splitlines()]
    assert lines[0] == {"return": 1.0, "step": 10, "prompt": "", "response": "a", "turns": ["a"], "ended": False}
    other = memory()
    other.load_state_dict(own.state_dict())
    assert added(other, [("z", 2.0)] * 4, 30) == added(own, [("z", 2.0)] * 4, 30)
    assert found(other) == found(own)
    assert all(torch.equal(x, other.state_dict()[name]) for name, x in own.state_dict().items())


def test_a_task_in_which_the_policy_only_guesses_has_no_best():
    assert assemble(preset("text/NextToken-v0", "ppo", "gru").replace(SMALL)).best is None
    assert assemble(preset("CartPole-v1")).best is None


def test_distinct_hashes_are_counted_exactly_up_to_the_capacity_and_then_estimated():
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63, 20_000).tolist()
    few, many = Distinct(30_000), Distinct(1000)
    for x in hashes * 2:
        few.add(x)
        many.add(x)
    assert few.count == 20_000
    assert len(many.kept) <= 1000
    assert many.count == pytest.approx(20_000, rel=0.08)  # 1.2 / √1000 = 0.038
