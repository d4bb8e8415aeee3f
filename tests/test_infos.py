"""Infos: rows that are not decisions and the environment's own metrics, in every autoreset mode."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from probes import Reusing  # noqa: F401 (registers it)

from ppo import Config, Trainer, UsageError, evaluate
from ppo.check import check
from ppo.envs import make_envs
from ppo.envs.infos import answers, marks
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy


class Halting(gymnasium.Env):
    """Three steps, the first of which does not depend on the action; reward and metric are 1 at the end."""

    metadata = {"ppo": {"valid": True, "metrics": ("success",)}, "render_modes": []}  # noqa: RUF012
    observation_space, action_space = Discrete(4), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {"valid": False}

    def step(self, action):
        self.at += 1
        done = self.at == 3
        return self.at, float(done), done, False, {"valid": True} | ({"success": True} if done else {})


gymnasium.register("Halting-v0", entry_point=Halting)


def collect(envs, steps=12, policy="mlp"):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = build_policy(policy, envs.single_observation_space, envs.single_action_space, {})
    collector = Collector(envs, FlatPolicy(policy))
    collector.reset(0)
    return collector.collect(steps)


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_decisions_and_metrics_come_from_the_info_of_a_single_environment(mode):
    copies = [Halting] * 2
    envs = make_envs("Halting-v0", 2, "sync") if mode is None else SyncVectorEnv(copies, autoreset_mode=mode)
    rollout, episodes = collect(envs)
    rows = [False, True, True, False] if mode is AutoresetMode.NEXT_STEP else [False, True, True]
    assert rollout.valid[:, 0].tolist() == (rows * 4)[:12]
    starts = [True, False, False, False] if mode is AutoresetMode.NEXT_STEP else [True, False, False]
    assert rollout.starts[:, 0].tolist() == (starts * 4)[:12]
    assert [(e.episode_return, e.length, e.metrics) for e in episodes] == [(1.0, 2, {"success": 1.0})] * len(episodes)
    assert len(episodes) == 2 * (12 // len(rows))


@pytest.mark.parametrize("own", [False, True], ids=["ours", "a VectorEnv of one's own"])
@pytest.mark.parametrize(
    ("value", "actual"), [({}, "is missing .there is valid, success."), ({"style": "bold"}, "is 'bold'"),
                          ({"style": [1, 2]}, r"is \[1, 2\]"), ({"style": None}, "is None")],
)  # fmt: skip
def test_a_metric_that_is_missing_or_not_a_number_is_named_with_its_environment(monkeypatch, own, value, actual):
    monkeypatch.setitem(Halting.metadata, "ppo", {"valid": True, "metrics": ("success", "style")})
    step = Halting.step
    monkeypatch.setattr(Halting, "step", lambda self, action: (*(answer := step(self, action))[:4], answer[4] | value))
    envs = SyncVectorEnv([Halting] * 2, autoreset_mode="NextStep") if own else make_envs("Halting-v0", 2, "sync")
    with pytest.raises(
        UsageError, match=rf"info\['style'\] of environment 0 {actual}.* at the end of .* \(at step 2 since"
    ):
        collect(envs)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (([None, 1], [False] * 2, [False] * 2), "environment 0 returned reward = None; it must be one number"),
        (
            (np.array(["1", "2"]), [False] * 2, [False] * 2),
            "environment 0 returned reward = .*'1'.*; it must be one number",
        ),
        (
            ([1, 1], np.array(["no", "no"]), [False] * 2),
            "environment 0 returned terminated = .*'no'.*; it must be True or",
        ),
        (([1, 1], [False] * 2, [False, "no"]), "environment 1 returned truncated = 'no'; it must be True or False"),
    ],
)
def test_answers_that_are_not_numbers_are_named_with_their_environment(values, words):
    with pytest.raises(UsageError, match=words):
        answers(values, 2)


def test_answers_that_are_too_few_are_one_sentence():
    with pytest.raises(UsageError, match=r"step\(\) returned 4 values; it must return 5: observations, rewards"):
        answers(([1, 1], [False] * 2), 2)


class Lives(gymnasium.Env):
    """Six steps, of which the tth pays t; the value ends at some of them, and by mistake at a reset."""

    metadata = {"ppo": {"value_ends": True}, "render_modes": []}  # noqa: RUF012
    observation_space, action_space = Box(0, 6, (1,), np.float32), Discrete(2)

    def __init__(self, ends=(2, 5), cut=False):
        self.ends, self.cut = ends, cut

    def reset(self, *, seed=None, options=None):
        self.at = 0
        return np.zeros(1, np.float32), {"value_ends": True}

    def step(self, action):
        self.at += 1
        done = self.at == 6
        info = {"value_ends": self.at in self.ends}
        return np.full(1, self.at, np.float32), float(self.at), done and not self.cut, done and self.cut, info


gymnasium.register("Lives-v0", entry_point=Lives)


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "cut"])
@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_the_end_of_a_value_is_a_mark_of_the_row_and_changes_nothing_else(mode, cut):
    def lives(ends):
        copies = [lambda: Lives(ends, cut)] * 2
        own = mode is not None
        envs = (
            SyncVectorEnv(copies, autoreset_mode=mode)
            if own
            else make_envs("Lives-v0", 2, "sync", {"ends": ends, "cut": cut})
        )
        return collect(envs, 14, "gru")

    (rollout, episodes), (other, others) = lives((2, 5, 6)), lives(())
    dead = mode is AutoresetMode.NEXT_STEP
    no, yes = [False], [True]
    game = no + yes + 2 * no + 2 * yes + (no if dead else [])
    assert rollout.value_ends[:, 1].tolist() == (game * 3)[:14]
    assert not other.value_ends.any()
    for name, column in vars(rollout).items():
        assert name in ("value_ends", "successors") or torch.equal(column, getattr(other, name)), name
    assert episodes == others == [Episode(n, 21.0, 6) for _ in range(2) for n in range(2)]
    assert rollout.starts[:, 0].sum() == (2 if dead else 3)


def test_a_check_counts_the_ends_of_values():
    assert dict(check("Lives-v0", 2, 12))["value ends"] == "8 steps ended the value but not the episode"


def test_value_ends_of_a_metadata_that_does_not_declare_them_mean_nothing(monkeypatch):
    monkeypatch.setattr(Lives, "metadata", {"render_modes": []})
    assert not collect(make_envs("Lives-v0", 2, "sync"), 12)[0].value_ends.any()


class Widening(Halting):
    """Shows another shape after the first step."""

    def step(self, action):
        obs, *answer = super().step(action)
        return obs if obs < 2 else np.zeros(2), *answer


def test_an_observation_that_gymnasiums_own_environments_cannot_stack_is_one_sentence():
    with pytest.raises(UsageError) as caught:
        collect(SyncVectorEnv([Widening] * 2))
    assert str(caught.value) == (
        "environment 0 returned an observation that does not fit its space: array([0., 0.]) has the shape (2,), the space () "
        "(at step 1 since the environments were reset)"
    )


def test_answers_may_be_lists_or_arrays_of_objects():
    rewards, *flags = answers(([1, 2.5], np.array([True, False], object), torch.tensor([False, True])), 2)
    assert rewards.tolist() == [1.0, 2.5]
    assert [flag.tolist() for flag in flags] == [[True, False], [False, True]]


def test_marks_of_a_vector_environment_must_be_flags_one_for_each_environment():
    yes = np.ones(2, bool)
    assert marks({}, "valid", yes).tolist() == [True, True]
    assert marks({"valid": np.array([True, False])}, "valid", yes).tolist() == [True, False]
    assert marks({"valid": torch.tensor([False, True])}, "valid", yes).tolist() == [False, True]
    some = {"valid": np.array([None, False]), "_valid": np.array([False, True])}
    assert marks(some, "valid", yes).tolist() == [True, False]
    with pytest.raises(UsageError, match="environment 1 returned valid = 'no'; it must be True or False"):
        marks({"valid": np.array([True, "no"], object)}, "valid", yes)
    for other in (True, np.zeros((3, 2), bool)):
        with pytest.raises(UsageError, match=r"infos\['value_ends'\] = .* must be \(N,\) = \(2,\), one flag for each"):
            marks({"value_ends": other}, "value_ends", ~yes)


def test_without_the_key_every_row_is_a_decision():
    rollout, episodes = collect(make_envs("CartPole-v1", 2, "sync"), 40)
    assert rollout.valid.all()
    assert all(episode.metrics == {} for episode in episodes)
    assert np.isfinite([episode.episode_return for episode in episodes]).all()


def test_numbers_that_log_info_names_are_logged_evaluated_and_reported(tmp_path):
    sizes = {"num_envs": 2, "num_steps": 10, "num_minibatches": 1, "update_epochs": 1, "total_timesteps": 20}
    trainer = Trainer(
        Config("Reusing-v0", log_info=("steps",), runs_dir=tmp_path, eval_episodes=2, compile="off", **sizes)
    )
    rows: list[dict[str, float]] = []
    run = trainer.train(lambda progress: rows.append(progress.row))
    assert (rows[0]["episode/steps"], rows[0]["eval/steps"]) == (5, 5)
    assert evaluate(run, 2).metric("steps") == 5
