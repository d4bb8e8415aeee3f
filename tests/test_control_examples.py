"""Demonstrations as sequences: the rows that are learnt, held-out episodes, statistics, masks."""

import itertools

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

from ppo import Trainer, UsageError, preset
from ppo.supervised.control_examples import NO_REWARDS, ControlExamples

LENGTHS = (3, 5, 2, 4)


class Line(gymnasium.Env):
    observation_space, action_space = Box(-9, 9, (1,)), Discrete(2)

    def __init__(self, masked=False):
        self.masked = masked

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"action_mask": np.ones(2, np.int8)} if self.masked else {}


def trainer(folder, masked=False, **settings):
    envs = SyncVectorEnv([lambda: Line(masked)] * 2)
    small = {"num_steps": 4, "num_minibatches": 1, "compile": "off", "runs_dir": str(folder), "state_size": 8}
    return Trainer(preset("CartPole-v1").replace(small | {"normalize_obs": True} | settings), envs)


def save(path, **more):
    total = sum(LENGTHS)
    ends = np.isin(np.arange(total), np.cumsum(LENGTHS) - 1)
    arrays = {"observations": np.arange(total)[:, None], "actions": np.arange(total) % 2, "terminations": ends}
    np.savez(path, **{name: x for name, x in (arrays | more).items() if x is not None})
    return str(path)


def taken(pieces, number):
    return [piece[0].tolist() for piece in itertools.islice(pieces, number)]


def test_a_policy_with_memory_reads_whole_episodes_and_one_without_reads_rows_in_random_order(tmp_path):
    path = save(tmp_path / "d.npz")
    memory = ControlExamples(trainer(tmp_path, policy="gru"), path)
    training = [[3, 4, 5, 6, 7], [8, 9], [10, 11, 12, 13]]  # the first episode is held out
    assert sorted(taken(memory.training, 3)) == training
    assert taken(memory.held_out, 2) == [[0, 1, 2]] * 2
    window = memory.window(np.array([[[2, 3], [8, 9]]]))
    assert (window.obs[..., 0].tolist(), window.actions.tolist()) == ([[2, 3], [8, 9]], [[0, 1], [0, 1]])
    assert (window.starts.tolist(), window.rows.tolist()) == ([[False, True], [True, False]], [[2, 3], [8, 9]])
    none = ControlExamples(trainer(tmp_path), path)
    first, second = ([n for part in taken(none.training, 2) for n in part] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(3, 14)) != first
    assert (none.windows, none.notes, none.returns) == (1, [NO_REWARDS], None)


def test_the_statistics_of_observations_are_those_of_the_training_episodes(tmp_path):
    made = trainer(tmp_path)
    ControlExamples(made, save(tmp_path / "d.npz"))
    statistics = made.policy.features.normalizer
    assert (float(statistics.count), float(statistics.mean[0])) == (11, 8)  # of 3 … 13


def test_an_action_that_its_mask_forbids_is_refused(tmp_path):
    masks = np.ones((14, 2), np.int8)
    obs = {"observations": None, "observations/obs": np.zeros((14, 1)), "observations/action_mask": masks}
    ControlExamples(trainer(tmp_path, masked=True), save(tmp_path / "d.npz", **obs))
    masks[7, 1] = 0
    with pytest.raises(UsageError, match="has an action in row 7 that its action mask does not allow"):
        ControlExamples(trainer(tmp_path, masked=True), save(tmp_path / "d.npz", **obs))


def test_a_single_episode_is_refused_because_some_are_held_out(tmp_path):
    with pytest.raises(UsageError, match=r"d.npz has 1 episode; give at least 2, since a tenth is held out"):
        ControlExamples(trainer(tmp_path), save(tmp_path / "d.npz", terminations=np.arange(14) == 13))
