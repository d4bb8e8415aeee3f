"""Environments that count, and collectors of them, for the tests of the collector and of play."""

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo.loop.collector import Collector
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy

torch.set_num_threads(1)  # as the trainer does: threads that share few cores spin and slow everything down twentyfold
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
LENGTHS = ((3, 5, 2), (4, 1, 6), (7, 2, 3))  # of the episodes of environments 0, 1 and 2, over and over
N = len(LENGTHS)
GAMMA, LAMBDA = 0.9, 0.8


def ends_by_truncation(index, episode):
    return (index + episode) % 2 == 0


class Counter(gymnasium.Env):
    """Shows (environment, episode, step, last action); the reward is 100 · environment + 10 · episode + step."""

    def __init__(self, index, as_dict=False, bad=None, fault=None):
        self.index, self.as_dict, self.bad, self.fault = index, as_dict, bad or {}, fault
        self.action_space, self.calls = Discrete(3), 0
        numbers = Box(-np.inf, np.inf, (4,), np.float32)
        self.observation_space = Dict({"numbers": numbers, "phase": Discrete(8)}) if as_dict else numbers

    def reset(self, *, seed=None, options=None):
        self.episode = 0 if seed is not None else self.episode + 1
        self.calls = 0 if seed is not None else self.calls
        self.time, self.last = 0, 0
        return self._obs(), {}

    def step(self, action):
        if self.fault is not None and self.calls == self.fault:
            raise ZeroDivisionError("the simulator fell over")
        reward = self.bad.get(("reward", self.calls), 100.0 * self.index + 10 * self.episode + self.time)
        self.time, self.last, self.calls = self.time + 1, int(action), self.calls + 1
        done = self.time == LENGTHS[self.index][self.episode % 3]
        cut = ends_by_truncation(self.index, self.episode)
        return self._obs(), reward, done and not cut, done and cut, {}

    def _obs(self):
        numbers = np.array([self.index, self.episode, self.time, self.last], np.float32) / 4
        if self.time or not self.calls:  # what a step returned, or the first reset: not a reset after a final step
            numbers[2] = self.bad.get(("obs", self.calls), numbers[2])
        return {"numbers": numbers, "phase": self.time} if self.as_dict else numbers


def counters(mode, **options):
    return SyncVectorEnv([lambda n=n: Counter(n, **options) for n in range(N)], autoreset_mode=mode)


def make_policy(name, envs, seed=0):
    torch.manual_seed(seed)
    policy = build_policy(name, envs.single_observation_space, envs.single_action_space, {"state_size": 8})
    for parameter in policy.actor.parameters():
        torch.nn.init.normal_(parameter)  # at the usual gain of 0.01 the same action would come out on top every time
    return policy


def collector_of(envs, policy_name):
    collector = Collector(envs, FlatPolicy(make_policy(policy_name, envs)))
    collector.reset(seed=0)
    return collector


def collected(envs, policy_name, steps):
    """The first rollout of a policy that leaves nothing to chance, and its episodes."""
    return collector_of(envs, policy_name).collect(steps, deterministic=True)
