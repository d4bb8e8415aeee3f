"""SyncVectorEnv without the infos that are not read."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo.envs.sync import LeanSyncVectorEnv


class Talkative(gymnasium.Env):
    """Ends after `length` steps; its info has keys that are read and one that is not. Action 2 raises."""

    observation_space, action_space = Discrete(9), Discrete(3)

    def __init__(self, length=3):
        self.length = length

    def _info(self, done):
        mask = np.array([1, self.time % 2, 0], np.int8)
        return {"speed": 1.5, "action_mask": mask} | ({"metrics": {"success": float(self.time)}} if done else {})

    def reset(self, *, seed=None, options=None):
        if seed == 13:
            raise ValueError("unlucky")
        self.time = 0
        return 0, self._info(False)

    def step(self, action):
        if action == 2:
            raise RuntimeError("not allowed")
        self.time += 1
        done = self.time == self.length
        return self.time, 1.0, done, False, self._info(done)


SPEC = EnvSpec("Talkative-v0", entry_point=Talkative)


def test_it_steps_as_gymnasiums_own_and_keeps_the_keys_that_are_read():
    lean = LeanSyncVectorEnv(SPEC, 2, {"length": 2})
    theirs = SyncVectorEnv([lambda: Talkative(2)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    lean.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(5):
        *ours, infos = lean.step(np.zeros(2, int))
        *expected, all_infos = theirs.step(np.zeros(2, int))
        assert all(np.array_equal(x, y) for x, y in zip(ours, expected, strict=True))
        assert np.array_equal(infos["action_mask"], all_infos["action_mask"])
        assert "speed" not in infos
        assert ("final_obs" in infos) == ("final_obs" in all_infos)


def test_metrics_of_an_episode_are_an_array_over_environments():
    envs = LeanSyncVectorEnv(SPEC, 2, {"length": 2})
    envs.reset(seed=0)
    assert "metrics" not in envs.step(np.zeros(2, int))[-1]
    assert envs.step(np.zeros(2, int))[-1]["metrics"]["success"].tolist() == [2.0, 2.0]


def test_an_error_names_the_environment_and_keeps_its_type():
    envs = LeanSyncVectorEnv(SPEC, 2, {})
    with pytest.raises(ValueError, match="unlucky") as error:
        envs.reset(seed=[0, 13])
    assert error.value.__notes__ == ["(raised by environment 1)"]
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="not allowed") as error:
        envs.step(np.array([2, 0]))
    assert error.value.__notes__ == ["(raised by environment 0)"]
