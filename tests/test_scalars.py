"""The scalars of an iteration: every measurement has its tag, and what was not measured is NaN."""

import math

import gymnasium
import pytest
import torch
from gymnasium.spaces import Discrete

from ppo import Config, Trainer, UsageError
from ppo.loop.assemble import assemble
from ppo.loop.scalars import evaluate, scalars, tags

SMALL = {"num_envs": 2, "num_steps": 8, "total_timesteps": 64, "hidden_sizes": [4], "num_minibatches": 2}


def test_an_iteration_is_measured_and_timed():
    parts = assemble(Config().replace(SMALL | {"env_id": "Pendulum-v1"}))
    parts.collector.reset(0)
    rollout, episodes = parts.collector.collect(8)
    row = scalars(parts, rollout, episodes, parts.learner.update(rollout, 0.5))
    assert math.isnan(row["charts/episodic_return"])  # no episode of 200 steps ended
    assert (row["charts/episodes"], row["charts/learning_rate"]) == (0.0, 0.5 * parts.config.learning_rate)
    seconds = {tag: value for tag, value in row.items() if tag.startswith("time/")}
    assert set(seconds) == {"time/environment", "time/inference", "time/update"}
    assert all(value > 0 for value in seconds.values())
    assert row["charts/SPS"] * sum(seconds.values()) == pytest.approx(16)
    outside = (rollout.actions.abs() > 1).float().mean()  # of the head's range, which the bounds ±2 are mapped to
    torch.testing.assert_close(torch.tensor(row["charts/clipped_actions"]), outside)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "text/Copy-v0", "text/NextToken-v0"])
def test_the_tags_of_a_run_are_known_before_it_begins(env_id, tmp_path):
    small = SMALL | {"policy": "gru", "num_steps": 32, "compile": "off", "runs_dir": str(tmp_path), "eval_max_steps": 4}
    changing = {"clip_coef": "0.2 -> 0.1", "gamma": "adaptive", "ent_coef": 0.01, "target_entropy": 0.5}
    with Trainer(Config().replace(small | changing | {"env_id": env_id})) as trainer:
        row = next(trainer.iterations()).row
        assert {"charts/clip_coef", "charts/gamma", "charts/ent_coef"} <= row.keys()
        assert sorted(tags(trainer.parts)) == sorted(row)
        run = trainer.run_dir
        trainer.save(finished=True)
    with Trainer(Config().replace(small | {"env_id": env_id, "reference": str(run)})) as trainer:
        assert sorted(tags(trainer.parts)) == sorted(next(trainer.iterations()).row)


def test_an_evaluation_is_counted_and_timed_and_may_be_abandoned():
    parts = assemble(Config().replace(SMALL | {"env_id": "CartPole-v1", "eval_max_steps": 3}))
    played, row = evaluate(parts, 4, 7, lambda: False)  # each of two environments gives up on its first episode
    assert [episode.length for episode in played] == [3, 3]
    assert (row["eval/episodic_length"], row["eval/unfinished"]) == (3.0, 2.0)
    assert row["time/evaluation"] > 0
    for episodes, stop in ((0, False), (4, True)):
        played, row = evaluate(parts, episodes, 7, lambda stop=stop: stop)
        assert played == []
        assert math.isnan(row["eval/episodic_return"])
        assert math.isnan(row["eval/unfinished"])


class Priced(gymnasium.Env):
    """One step; action 1 pays the price."""

    action_space = Discrete(2)

    def __init__(self, price=1.0, size=2):
        self.price, self.observation_space = price, Discrete(size)

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 0, self.price * float(action), True, False, {}


gymnasium.register("Priced-v0", entry_point=Priced)
PRICED = SMALL | {"env_id": "Priced-v0", "vectorization": "sync"}


def returns_of(**settings):
    """Return the returns of 32 episodes of an evaluation."""
    parts = assemble(Config().replace(PRICED | settings))
    parts.collector.reset(0)
    played, row = evaluate(parts, 32, 7, lambda: False)
    assert row["eval/episodic_return"] == pytest.approx(sum(episode.episode_return for episode in played) / 32)
    return {episode.episode_return for episode in played}


def test_an_evaluation_takes_the_mode_or_samples():
    assert len(returns_of()) == 1
    assert returns_of(eval_sampled=True) == {0.0, 1.0}


def test_an_evaluation_may_have_environments_with_arguments_of_their_own():
    settings = {"eval_sampled": True, "env_kwargs": {"price": 2.0}}
    assert returns_of(**settings) == {0.0, 2.0}
    assert returns_of(**settings, eval_env_kwargs={"price": 5.0}) == {0.0, 5.0}
    assert returns_of(**settings, eval_env_kwargs={"price": None}) == {0.0, 1.0}  # the default
    with pytest.raises(
        UsageError, match=r"eval_env_kwargs = {'size': 3} gives Priced-v0 other spaces than in training"
    ):
        returns_of(eval_env_kwargs={"size": 3})
    own = gymnasium.make_vec("Priced-v0", 2, "sync")
    with pytest.raises(UsageError, match="eval_env_kwargs needs environments"):
        assemble(Config().replace(PRICED | {"eval_env_kwargs": {"price": 5.0}}), own)
