"""How to step N copies of an environment: one after the other, or each in a process of its own."""

import contextlib
import statistics
import time
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ppo.machine.process import cores

# Seconds that an environment must save to be worth a process of its own. With 8 on 2 cores, async took 0.1 to 0.3 ms
# longer for each step of each environment: CartPole, LunarLander and Humanoid (0.3 ms) lost, CarRacing (6 ms) won.
HAND_OVER = 4e-4


def sync_or_async(spec: EnvSpec, num_envs: int, kwargs: dict[str, Any]) -> str:
    """Return the faster of the two by the time of a few random steps; both give the same numbers."""
    saved = 1 - 1 / min(num_envs, cores())  # of an environment's time, at best
    if saved == 0:
        return "sync"
    with contextlib.closing(gymnasium.make(spec, **kwargs)) as env:
        return "async" if _step_seconds(env) * saved > HAND_OVER else "sync"


def _step_seconds(env: gymnasium.Env) -> float:
    """Return the median time of a random step, from at most 50 steps or 50 ms; 0 where a random step is an error."""
    times: list[float] = []
    env.reset(seed=0)
    env.action_space.seed(0)
    while len(times) < 3 or (len(times) < 50 and sum(times) < 0.05):
        action, begin = env.action_space.sample(), time.perf_counter()
        try:
            _, _, terminated, truncated, _ = env.step(action)
        except Exception:  # an action that a mask rules out; what else is wrong shows when the policy steps it
            return 0.0
        times.append(time.perf_counter() - begin)
        if terminated or truncated:
            env.reset()
    return statistics.median(times)
