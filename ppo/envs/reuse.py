"""An environment that writes its observations into one array, inside Gymnasium's own SAME_STEP, which resets before it copies."""

from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from ppo.envs.copies import IMMUTABLE, SyncCopies
from ppo.envs.spaces import take
from ppo.envs.workers import Workers
from ppo.errors import UsageError


class ReuseCheck(VectorWrapper):
    """Refuse such an environment at the first episode that is truncated: V of its last observation would be wrong.

    In one process the check is exact: two observations share memory. Worker processes send copies; from them it looks at
    the first truncated episodes, whether the last observation of each equals the first one of the next.
    """

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self._base: Any = env.unwrapped
        self._trusted = False  # worker processes have shown that they do not reuse arrays

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environments."""
        before = list(getattr(self._base, "_env_obs", ()))  # of SyncVectorEnv, as the environments returned them
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        cut = np.flatnonzero(truncated if "final_obs" in infos else ())
        final = [take(infos["final_obs"], n) for n in cut]
        if before:
            for n, last in zip(cut, final, strict=True):
                now = self._base._env_obs[n]
                if shares(before[n], last) or shares(before[n], now) or shares(last, now):
                    self._refuse(f"environment {n} returned an array that it had returned before")
        elif len(cut) and not self._trusted:
            parts = [same for n, last in zip(cut, final, strict=True) for same in equal_parts(last, take(obs, n))]
            self._trusted = not (parts and all(parts))
            if not self._trusted:
                self._refuse(
                    f"the last observation of an episode of environment {cut[0]} equals the first one of the next"
                )
        return obs, rewards, terminated, truncated, infos

    def _refuse(self, evidence: str) -> None:
        raise UsageError(
            f"{evidence}; in autoreset mode SAME_STEP {type(self._base).__name__} resets before it copies, so an environment "
            "must return a new array in each step (obs.copy()); or use AutoresetMode.NEXT_STEP, or give env_id",
            page="environments#your-own-vectorenv",
        )


def check_reuse(envs: VectorEnv) -> VectorEnv:
    """Return envs, with the check if Gymnasium's own vector environment is inside and resets in the same step."""
    base: Any = envs.unwrapped
    gymnasiums = isinstance(base, SyncVectorEnv | AsyncVectorEnv) and not isinstance(base, SyncCopies | Workers)
    return ReuseCheck(envs) if gymnasiums and base.autoreset_mode is AutoresetMode.SAME_STEP else envs


def shares(a: Any, b: Any) -> bool:
    """Return whether two observations of the same structure share memory that may change."""
    if isinstance(a, IMMUTABLE) or isinstance(b, IMMUTABLE):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return a is b or any(shares(a[key], b[key]) for key in a.keys() & b.keys())
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return (a is b and isinstance(a, list)) or any(map(shares, a, b))
    return a is b or bool(np.shares_memory(np.asarray(a), np.asarray(b)))


def equal_parts(last: Any, first: Any) -> list[bool]:
    """Return for each part of an observation that may change whether it equals that of a stacked observation."""
    if isinstance(last, dict):
        return [same for key in first for same in equal_parts(last[key], first[key])]
    if isinstance(first, tuple):
        return [same for pair in zip(last, first, strict=True) for same in equal_parts(pair[0], pair[1])]
    return [] if isinstance(last, IMMUTABLE) else [np.array_equal(np.asarray(last, first.dtype), first)]
