"""Atari games, stepped by ALE's own vector environment, with the preprocessing of published PPO (Mnih et al. 2015).

Four frames a decision, of which the last two are joined by their maximum; 84 × 84 grey; the last four of these as one
observation; a random number of no-ops, at most 30, and FIRE at the start of a game. A game lasts at most 108,000 frames. Rewards
are the game's own: clipping them is up to the trainer. The end of a life ends the value, not the game; FIRE begins the next life.
"""

import copy
import inspect
import re
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from ppo.envs.atari_arguments import REFUSED, check_arguments
from ppo.envs.fits import MARKS
from ppo.envs.lives import Lives
from ppo.errors import UsageError
from ppo.machine.process import cores

FRAMES = 4  # a decision
ID = re.compile(r"(?:ALE/)?([A-Z][A-Za-z0-9]*?)(-ram)?(NoFrameskip|Deterministic)?-v(\d+)")
METADATA = {
    "ppo": dict.fromkeys(MARKS, True), "render_modes": ["rgb_array"], "render_fps": 60 // FRAMES,
    "autoreset_mode": AutoresetMode.SAME_STEP,
}  # fmt: skip


def refusal(env_id: str, registry: dict[str, EnvSpec]) -> str:
    """Return why a game cannot be trained on under this id, and the ids to use; "" if it can, or is not a game.

    Args:
        env_id: of Gymnasium.
        registry: Gymnasium's, after ALE was imported.
    """
    parts = ID.fullmatch(env_id)
    spec = registry.get(env_id)
    if parts is None or f"ALE/{parts[1]}-v5" not in registry or (spec is not None and not is_game(spec)):
        return ""
    game, ram, skip, _ = parts.groups()
    if ram:
        why = "shows the console's memory, for which there are no published protocols"
    elif spec is None:
        why = "is not an id of ale-py"
    elif skip is None and not env_id.startswith("ALE/"):
        why = "skips a random number of frames, unlike published runs"
    else:
        return ""
    ids = [f"{game}NoFrameskip-v4", f"ALE/{game}-v5 with sticky actions"]
    return f"env_id = {env_id!r} {why}; use {', or '.join(ids[ids[0] not in registry :])}"


def is_game(spec: EnvSpec) -> bool:
    """Return whether a specification is one of ALE's."""
    return isinstance(spec.entry_point, str) and spec.entry_point.startswith("ale_py.")


def standard(spec: EnvSpec) -> EnvSpec:
    """Return the specification of a game, of ALE's, with the preprocessing of published PPO."""
    own = copy.copy(spec)
    own.kwargs = spec.kwargs | {"frameskip": FRAMES}
    own.entry_point, own.vector_entry_point = f"{__name__}:Game", f"{__name__}:make_games"
    return own


def check_games(envs: VectorEnv) -> None:
    """Refuse ALE's vector environment as ALE makes it, which does not say whether it clips rewards and where lives end.

    Raises:
        UsageError: it is not inside `Games`.
    """
    if type(envs.unwrapped).__module__ == "ale_py.vector_env":
        while not isinstance(envs, Games):
            if not isinstance(envs, VectorWrapper):
                raise UsageError(
                    "AtariVectorEnv clips rewards by default, so that returns would be of clipped rewards; make the environments "
                    "by ppo.make_envs(env_id, num_envs), which takes the same arguments as env_kwargs",
                    page="environments#atari",
                )
            envs = envs.env


def make_games(
    num_envs: int,
    *,
    render_mode: str | None = None,
    life_loss_info: bool = True,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> VectorEnv:
    """Make N copies of a game.

    Args:
        num_envs: N.
        render_mode: "rgb_array" to film it.
        life_loss_info: the end of a life ends the value; the next decision is not the policy's but FIRE, if the game has it.
        max_episode_steps: decisions after which a game is truncated; None: `max_num_frames_per_episode` says it in frames.
        kwargs: other arguments of `ale_py.vector_env.AtariVectorEnv`.

    Raises:
        UsageError: an argument is unknown or out of range, or would give other games than the published ones.
    """
    from ale_py.vector_env import AtariVectorEnv

    own = {"life_loss_info": life_loss_info} | ({"max_episode_steps": max_episode_steps} if max_episode_steps else {})
    check_arguments(
        set(inspect.signature(AtariVectorEnv).parameters) - {"num_envs"} | {"life_loss_info", "max_episode_steps"},
        kwargs | own,
    )
    options: dict[str, Any] = {"num_threads": min(num_envs, cores())} | {
        k: v for k, v in kwargs.items() if k not in REFUSED
    }
    if max_episode_steps:
        options["max_num_frames_per_episode"] = max_episode_steps * options.get("frameskip", FRAMES)
    options |= {"reward_clipping": False, "autoreset_mode": AutoresetMode.SAME_STEP}
    colour = {"grayscale": False, "img_height": 210, "img_width": 160, "stack_num": 1}
    envs = AtariVectorEnv(num_envs=num_envs, **options)
    screens = AtariVectorEnv(num_envs=num_envs, **options | colour) if render_mode == "rgb_array" else None
    pressed = life_loss_info and options.get("use_fire_reset", True) and not options.get("continuous", False)
    lives = Lives(life_loss_info, fire_action(envs) if pressed else None)
    return Games(envs, lives, screens, options.get("frameskip", FRAMES))


def fire_action(envs: Any) -> int | None:
    """Return the number of FIRE among the actions of an AtariVectorEnv; None if the game does not have it."""
    names = [action.name for action in envs.ale.get_action_set()]
    return names.index("FIRE") if "FIRE" in names else None


class Games(VectorWrapper):
    """N copies of a game, which say when a life has ended.

    Args:
        env: of ALE, in SAME_STEP: after an episode, the lives in its infos are those of the next one.
        lives: of these games.
        screens: the same games in colour, one frame an observation; they play along for a film.
        frames: of a decision.
    """

    def __init__(self, env: VectorEnv, lives: Lives, screens: VectorEnv | None = None, frames: int = FRAMES) -> None:
        super().__init__(env)
        self.metadata = METADATA | {"render_fps": max(1, 60 // frames)}
        self.lives, self.screens = lives, screens

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new games; environment n gets the seed plus n, or without one a random one."""
        seed = np.random.randint(2**31) if seed is None else int(seed)
        seeds = (seed + np.arange(self.num_envs)) % 2**31  # ALE keeps them in 32 bits, and −1 means none
        obs, infos = self.env.reset(seed=seeds, options=options)
        if self.screens is not None:
            self.frames = self.screens.reset(seed=seeds, options=options)[0]
        self.lives.begin(infos["lives"])
        return obs, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all games by one decision."""
        actions = self.lives.press(actions)
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        if self.screens is not None:
            self.frames = self.screens.step(actions)[0]
        marks = self.lives.marks(infos["lives"], terminated | truncated)
        final = {"final_obs": infos["final_obs"]} if "final_obs" in infos else {}
        return obs, rewards, terminated, truncated, marks | final

    def render(self) -> tuple[Any, ...] | None:
        """Return the screen of each game in colour, (210, 160, 3) uint8."""
        return None if self.screens is None else tuple(self.frames[:, -1])

    def close(self, **kwargs: Any) -> None:
        """Close the games."""
        for envs in (self.env, self.screens):
            if envs is not None:
                envs.close(**kwargs)


class Game(gymnasium.Env):
    """One copy of a game, for wrappers and worker processes: a `Games` of one, with the same numbers.

    Args:
        render_mode: "rgb_array" to film it.
        kwargs: as in `make_games`.
    """

    metadata = METADATA

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        self.games, self.render_mode = make_games(1, render_mode=render_mode, **kwargs), render_mode
        self.metadata = self.games.metadata
        self.observation_space = self.games.single_observation_space
        self.action_space = self.games.single_action_space
        self.next: Any = None  # the first observation of the next game, which has begun

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a game."""
        super().reset(seed=seed)
        obs, self.next = self.next, None
        if seed is not None or obs is None:  # a wrapper may begin a game before the last one has ended
            obs = self.games.reset(seed=int(self.np_random.integers(2**31)) if seed is None else seed)[0]
        return obs[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the game by one decision."""
        obs, rewards, terminated, truncated, infos = self.games.step(np.asarray(action)[None])
        if terminated[0] or truncated[0]:
            self.next, obs = obs, infos["final_obs"]
        marks = {mark: bool(infos[mark][0]) for mark in MARKS}
        return obs[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), marks

    def render(self) -> Any:
        """Return the screen in colour, (210, 160, 3) uint8."""
        frames = self.games.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Close the game."""
        self.games.close()
