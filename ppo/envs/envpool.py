"""EnvPool environments (Weng et al. 2022): the same ids, stepped by C++ threads, behind Gymnasium's VectorEnv."""

import re
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ppo.envs import atari, atari_arguments
from ppo.envs.fits import MARKS
from ppo.envs.lives import Lives
from ppo.errors import UsageError
from ppo.machine.imports import is_installed
from ppo.machine.process import cores

SAME_GAME = ("repeat_action_probability", "full_action_space")  # of an Atari id, with EnvPool's names
REFUSED = {"reward_clip": "reward_clipping", "episodic_life": "episodic_life"}  # of a game, with ALE's names


class EnvPool(VectorEnv):
    """A pool of N copies of an environment.

    EnvPool takes a seed only when a pool is made. So a reset makes a new pool, and equal seeds give equal episodes.

    Args:
        spec: Gymnasium's specification of the environment.
        num_envs: N.
        kwargs: keyword arguments of the pool.

    Raises:
        UsageError: EnvPool is not installed or does not know the environment.
    """

    def __init__(self, spec: gymnasium.envs.registration.EnvSpec, num_envs: int, kwargs: dict[str, Any]) -> None:
        if not is_installed("envpool"):
            raise UsageError("--vectorization envpool needs EnvPool: pip install envpool")
        import envpool

        self.pool_id, same_game = pool_id(spec)
        if self.pool_id not in envpool.list_all_envs():
            raise UsageError(f"EnvPool does not have {spec.id}; use --vectorization auto")
        self.has_lives = bool(same_game)
        refused = (REFUSED if self.has_lives else {}) | {"batch_size": "batch_size"}
        for name in (name for name in refused if kwargs.get(name)):
            raise UsageError(f"{name} = {kwargs[name]!r} is refused: {atari_arguments.REFUSED[refused[name]]}")
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "ppo": dict.fromkeys(MARKS, self.has_lives)}
        self.spec, self.num_envs, self.kwargs = spec, num_envs, same_game | kwargs
        self.lives = Lives(
            fire=self._fire(spec.kwargs | self.kwargs)
            if self.has_lives and kwargs.get("use_fire_reset", True)
            else None
        )
        self.pool = self._make(0)
        self.single_observation_space = self.pool.observation_space
        self.single_action_space = self.pool.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _fire(self, chosen: dict[str, Any]) -> int | None:
        """Return the number of FIRE among a game's actions, which EnvPool does not name."""
        from ale_py.vector_env import AtariVectorEnv

        games = AtariVectorEnv(
            chosen["game"], 1, num_threads=1, full_action_space=chosen.get("full_action_space", False)
        )
        fire = atari.fire_action(games)
        games.close()
        return fire

    def _make(self, seed: int) -> Any:
        import envpool

        sizes = {"num_envs": self.num_envs, "num_threads": min(self.num_envs, cores())}
        with warnings.catch_warnings(action="ignore"):  # about the bounds of spaces, which float32 rounds
            try:
                pool = envpool.make(self.pool_id, env_type="gymnasium", seed=seed, **sizes, **self.kwargs)
            except TypeError as error:
                self._refuse_unknown(error, sizes)
                raise
            assert pool.observation_space is not None  # which EnvPool makes on first use
        return pool

    def _refuse_unknown(self, error: TypeError, sizes: dict[str, int]) -> None:
        """Name the argument that EnvPool does not know, if there is one."""
        import envpool

        known = set(envpool.make_spec(self.pool_id).config._fields)
        for name in (name for name in self.kwargs if name not in known):
            names = ", ".join(
                sorted(known - {*sizes, *(REFUSED if self.has_lives else ()), "seed", "task", "base_path"})
            )
            raise UsageError(f"{name} is not an argument of {self.pool_id} in EnvPool; it takes {names}") from error

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all environments, with a random seed if there is none."""
        self.pool = self._make(int(np.random.randint(2**31)) if seed is None else int(seed))
        obs, infos = self.pool.reset()
        if self.has_lives:
            self.lives.begin(infos["lives"])
        return obs, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all environments; one whose episode has ended is reset instead."""
        if not self.has_lives:
            return self.pool.step(actions)
        obs, rewards, terminated, truncated, infos = self.pool.step(self.lives.press(actions))
        return obs, rewards, terminated, truncated, infos | self.lives.marks(infos["lives"], terminated | truncated)


def pool_id(spec: gymnasium.envs.registration.EnvSpec) -> tuple[str, dict[str, Any]]:
    """Return EnvPool's id of an environment, and the arguments with which it is the same game.

    EnvPool has each Atari game under one id, X-v5, with frames skipped, scaled and stacked, and no sticky actions unless an
    argument asks for them. Gymnasium's ids differ in these: ALE/X-v5 has sticky actions, XNoFrameskip-v4 has none.
    """
    game = re.fullmatch(r"ALE/(\w+)-v5|(\w+)NoFrameskip-v\d", spec.id)
    if game is None:
        return spec.id, {}
    return f"{game[1] or game[2]}-v5", {name: spec.kwargs[name] for name in SAME_GAME if name in spec.kwargs}
