"""How to step N copies of an environment: one after the other, or each in its own process."""

import contextlib
import statistics
import time
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ppo.machine.process import cores

# Seconds per step of one environment that pass in talking to its process. With 8 environments on 2 cores it was 0.1 to
# 0.3 ms: CartPole, LunarLander and Humanoid (0.3 ms per step) were faster with sync, CarRacing (6 ms) with async.
OVERHEAD = 4e-4


def sync_or_async(spec: EnvSpec, num_envs: int, kwargs: dict[str, Any]) -> str:
    """Return the faster of the two, from the time of a few random steps; both give the same numbers."""
    saving = 1 - 1 / min(num_envs, cores())  # largest share of the time of a step
    if saving == 0:
        return "sync"
    with contextlib.closing(gymnasium.make(spec, **kwargs)) as env:
        return "async" if _step_seconds(env) * saving > OVERHEAD else "sync"


def _step_seconds(env: gymnasium.Env) -> float:
    """Return the median time of a random step, from at most 50 steps or 50 ms; 0 if a random step raises an error."""
    times: list[float] = []
    env.reset(seed=0)
    env.action_space.seed(0)
    while len(times) < 3 or (len(times) < 50 and sum(times) < 0.05):
        action, begin = env.action_space.sample(), time.perf_counter()
        try:
            _, _, terminated, truncated, _ = env.step(action)
        except Exception:  # such as for an action that the mask excludes; other errors appear again in training
            return 0.0
        times.append(time.perf_counter() - begin)
        if terminated or truncated:
            env.reset()
    return statistics.median(times)
