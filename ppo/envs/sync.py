"""N copies of an environment in this process: Gymnasium's SyncVectorEnv without the infos that are not read."""

import functools
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo.envs.spaces import MASK_KEY
from ppo.errors import UsageError

KEYS = ("final_obs", MASK_KEY, "valid")


class LeanSyncVectorEnv(SyncVectorEnv):
    """SyncVectorEnv whose infos have only the keys that the collector reads; errors name the environment.

    Making arrays of all other keys took a tenth of HalfCheetah's time.

    Args:
        spec: Gymnasium's specification of the environment.
        num_envs: N.
        kwargs: keyword arguments of the environment.
    """

    def __init__(self, spec: EnvSpec, num_envs: int, kwargs: dict[str, Any]) -> None:
        copies = [functools.partial(_make, spec, kwargs, index) for index in range(num_envs)]
        super().__init__(copies, autoreset_mode=AutoresetMode.SAME_STEP)
        self.spec = spec

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        info = {key: env_info[key] for key in KEYS if key in env_info}
        for name, value in env_info.get("final_info", {}).get("metrics", {}).items():
            table = vector_infos.setdefault("metrics", {}).setdefault(name, np.zeros(self.num_envs))
            table[env_num] = value
        return super()._add_info(vector_infos, info, env_num) if info else vector_infos


def _make(spec: EnvSpec, kwargs: dict[str, Any], index: int) -> gymnasium.Env:
    return _Numbered(gymnasium.make(spec, **kwargs), index)


class _Numbered(gymnasium.Wrapper):
    """Add the index of the environment to an error, which keeps its traceback."""

    def __init__(self, env: gymnasium.Env, index: int) -> None:
        super().__init__(env)
        self.index = index

    def step(self, action: Any) -> Any:
        try:
            return self.env.step(action)
        except SystemExit as error:
            raise self._exit(error) from error
        except Exception as error:
            error.add_note(f"(raised by environment {self.index})")
            raise

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        try:
            return self.env.reset(seed=seed, options=options)
        except SystemExit as error:
            raise self._exit(error) from error
        except Exception as error:
            error.add_note(f"(raised by environment {self.index})")
            raise

    def _exit(self, error: SystemExit) -> UsageError:
        name = self.spec.id if self.spec is not None else type(self.unwrapped).__name__
        return UsageError(
            f"environment {self.index} of {name} called sys.exit({error.code!r}); its code must raise an exception or end "
            "the episode instead; the last checkpoint is intact"
        )
