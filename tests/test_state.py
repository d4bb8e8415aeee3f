"""The memory of a task's functions: in the checkpoint, out of evaluations, and refused where it cannot be stored."""

from collections import Counter, deque

import pytest
import torch

from ppo import Trainer, UsageError, preset
from ppo.run.checkpoint import read_checkpoint
from ppo.text import Task, TokenEnv, Vocabulary
from ppo.text.state import objects, remembers, restore, state_of

ABC = Vocabulary("abc")


class Novelty:
    """Reward texts that are rare among the last 1,000, and remember the mean reward in a tensor."""

    def __init__(self):
        self.seen, self.mean, self.training, self.told = deque(maxlen=1000), torch.zeros(1), None, []

    def __call__(self, completions):
        counts = Counter(self.seen)
        rewards = [1 / (1 + counts[c.response]) for c in completions]
        self.seen.extend(c.response for c in completions)
        self.mean += 0.1 * (sum(rewards) / len(rewards) - self.mean)
        return [reward + float(self.mean) for reward in rewards]

    def state_dict(self):
        return {"seen": list(self.seen), "mean": self.mean}

    def load_state_dict(self, state):
        self.seen, self.mean = deque(state["seen"], maxlen=1000), state["mean"]

    def set_training(self, training):
        self.told.append((training, len(self.seen)))


def task(reward, **settings):
    return Task(**{"vocabulary": ABC, "reward": reward, "max_tokens": 3} | settings)


def run(folder, name, steps, reward):
    small = {"num_envs": 8, "num_steps": 16, "num_minibatches": 1, "policy": "gru", "state_size": 8, "compile": "off"}
    often = {"checkpoint_every": 1, "eval_episodes": 8, "anneal_lr": False, "threads": 1, "update_epochs": 1}
    changes = small | often | {"runs_dir": str(folder), "exp_name": name, "total_timesteps": steps}
    return Trainer(preset("text/Copy-v0").replace(changes), TokenEnv(task(reward), 8)).train()


def test_a_resumed_run_with_a_reward_that_remembers_is_the_run_that_went_on(tmp_path):
    reward = Novelty()
    whole, cut = run(tmp_path, "whole", 384, reward), run(tmp_path, "cut", 256, Novelty())
    Trainer.resume(cut, {"total_timesteps": 384}, TokenEnv(task(Novelty()), 8)).train()
    (expected, meta), (found, _) = (read_checkpoint(path / "checkpoints/latest.safetensors") for path in (whole, cut))
    assert meta["iteration"] == 3
    assert expected.keys() == found.keys() >= {"task.state", "task.reward['mean']"}
    assert all(torch.equal(x, found[name]) for name, x in expected.items())
    sizes = [seen for _, seen in reward.told]
    assert [training for training, _ in reward.told] == [True] + [False, True] * 3
    assert sizes[1::2] == sizes[2::2]  # the texts of an evaluation are forgotten
    assert 0 < sizes[1] < sizes[-1] == len(reward.seen)


class Level:
    """A curriculum whose level both its methods share."""

    def __init__(self):
        self.level = 1

    def prompt(self, rng):
        return "a" * self.level

    def reward(self, completions):
        self.level += 1
        return [0.0 for _ in completions]

    def state_dict(self):
        return {"level": self.level}

    def load_state_dict(self, state):
        self.level = state["level"]


def test_methods_of_one_object_have_one_state_and_plain_functions_have_none():
    level, other = Level(), Level()
    made = task(level.reward, prompt=level.prompt, metrics={"level": lambda cs: [0.0 for _ in cs]})
    assert list(objects(made, "state_dict")) == ["reward"]
    made.score([])
    restore(task(other.reward, prompt=other.prompt), state_of(made))
    assert other.level == level.level == 2
    assert state_of(task(lambda cs: [0.0 for _ in cs])) == {}
    assert remembers(made)
    assert not remembers(task(lambda cs: [0.0 for _ in cs]))


def test_a_state_is_a_copy():
    reward = Novelty()
    state = state_of(task(reward))
    reward.mean += 1
    restore(task(reward), state)
    assert reward.mean == 0
    reward.mean += 1
    assert state["task.reward['mean']"] == 0


class Returns(Novelty):
    """Has a given state."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def state_dict(self):
        return self.state() if callable(self.state) else self.state


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ([1], r"the state_dict of the task's reward returned \[1\]; return a dict"),
        (
            {"seen": deque()},
            r"state_dict\(\)\['seen'\] of the task's reward is not JSON \(TypeError: .*; make it a tensor",
        ),
        ({"seen": [(1, 2)]}, r"is \[\(1, 2\)\], which JSON would change; use lists instead of tuples"),
        ({"counts": {1: 2}}, "which JSON would change; use lists instead of tuples, texts as keys"),
        ({"mean": float("nan")}, "and finite numbers"),
        (lambda: 1 / 0, "the task's reward.state_dict function raised ZeroDivisionError"),
    ],
)
def test_a_state_that_cannot_be_stored_is_one_sentence(state, sentence):
    with pytest.raises(UsageError, match=sentence):
        state_of(task(Returns(state)))


def test_the_state_of_another_task_is_refused():
    plain = task(lambda cs: [0.0 for _ in cs])
    with pytest.raises(UsageError, match="the state of these functions of the task: none; now these have one: reward"):
        restore(task(Novelty()), {})
    with pytest.raises(UsageError, match="of the task: reward; now these have one: none"):
        restore(plain, state_of(task(Novelty())))
