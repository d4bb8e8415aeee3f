"""Environments run in one process or in one each, whichever is faster."""

import time

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Discrete
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from ppo.envs import vectorize
from ppo.envs.vectorize import sync_or_async


class Waits(gymnasium.Env):
    """Every step takes `seconds`; every third step ends the episode."""

    observation_space, action_space = Discrete(2), Discrete(2)

    def __init__(self, seconds=0.0, refuses=False):
        self.seconds, self.refuses, self.time, self.over = seconds, refuses, 0, True

    def reset(self, *, seed=None, options=None):
        self.time, self.over = 0, False
        return 0, {}

    def step(self, action):
        assert not self.over, "stepped after its end"
        if self.refuses:
            raise ValueError("this action is ruled out by the mask")
        time.sleep(self.seconds)
        self.time += 1
        self.over = self.time == 3
        return 0, 0.0, self.over, False, {}


def choose(monkeypatch, num_envs, cores, **kwargs):
    monkeypatch.setattr(vectorize, "cores", lambda: cores)
    return sync_or_async(EnvSpec("Waits-v0", entry_point=Waits), num_envs, kwargs)


def test_a_slow_environment_gets_processes_and_a_fast_one_does_not(monkeypatch):
    assert choose(monkeypatch, 8, 2, seconds=0.01) == "async"
    assert choose(monkeypatch, 8, 2) == "sync"


def test_one_core_or_one_environment_stays_in_this_process(monkeypatch):
    assert choose(monkeypatch, 8, 1, seconds=0.01) == "sync"
    assert choose(monkeypatch, 1, 8, seconds=0.01) == "sync"


def test_an_environment_that_refuses_a_random_action_is_stepped_in_this_process(monkeypatch):
    assert choose(monkeypatch, 8, 2, seconds=0.01, refuses=True) == "sync"


def test_the_trial_takes_a_moment_also_with_a_slow_environment(monkeypatch):
    begin = time.perf_counter()
    choose(monkeypatch, 8, 2, seconds=0.03)
    assert time.perf_counter() - begin < 1.0


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_chosen_mode_is_made(monkeypatch, mode):
    import ppo.envs.gym

    monkeypatch.setattr(ppo.envs.gym, "sync_or_async", lambda *_: mode)
    kind = {"sync": SyncVectorEnv, "async": AsyncVectorEnv}[mode]
    envs = ppo.make_envs("Acrobot-v1", 2)
    try:
        assert isinstance(envs, kind)
    finally:
        envs.close()
