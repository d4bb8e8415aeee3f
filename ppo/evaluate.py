"""Evaluation: load a run, play episodes with it, report, film."""

import contextlib
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector.utils import concatenate, create_empty_array

from ppo.envs import time_limit
from ppo.envs.fits import MASK_KEY, flat_mask
from ppo.envs.spaces import Packer, mask_columns, take
from ppo.errors import UsageError
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode
from ppo.loop.play import MAX_STEPS, play
from ppo.machine.flat import FlatPolicy
from ppo.run.files import check_plain
from ppo.run.load import Saved, envs_for, load

MAX_ENVS = 16  # of an evaluation


@dataclass(frozen=True)
class Player(Saved):
    """A trained policy as a function from raw observation to action, without an environment.

    >>> player = load_policy("runs/CartPole-v1__ppo__s1")  # doctest: +SKIP
    >>> action, state = player.act(obs, state)  # doctest: +SKIP
    """

    @torch.no_grad()
    def act(
        self, obs: Any, state: torch.Tensor | None = None, *, mask: Any = None, deterministic: bool = True
    ) -> tuple[Any, torch.Tensor]:
        """Return the action for one raw observation, and the state to hand back with the next one.

        Args:
            obs: one observation, as `env.reset()` or `env.step()` returned it.
            state: the state that the previous call returned; None at the start of an episode.
            mask: `info["action_mask"]`, if the environment puts its mask there.
            deterministic: take the mode: the most probable action, or the Gaussian's mean.

        Raises:
            UsageError: the policy was trained with action masks, and there is no mask.
        """
        if mask is not None:
            obs = {"obs": obs, MASK_KEY: flat_mask(mask)}
        if mask_columns(self.obs_space) is not None and not (isinstance(obs, dict) and MASK_KEY in obs):
            raise UsageError("this policy was trained with action masks; give mask=info['action_mask']")
        batch = concatenate(self.obs_space, [obs], create_empty_array(self.obs_space, 1))  # type: ignore[arg-type]
        packed = Packer(self.obs_space)(batch)  # (1, *obs)
        starts = torch.full((1, 1), state is None)
        state = self.policy.initial_state(1) if state is None else state
        dist, _, state = self.policy(packed.unsqueeze(0), state, starts)
        action = dist.sample(self.policy.head.noise(1, 1, deterministic=deterministic))[0]  # (1, *action)
        return take(self.policy.head.to_env(action), 0), state


def load_policy(run: str | Path, checkpoint: str = "latest", trust: bool = False) -> Player:
    """Load a run's policy, on the CPU, without making its environment.

    Args:
        run: the run's folder.
        checkpoint: "latest", "best" (by evaluation) or "iteration_000123".
        trust: import the modules that the run names, even if another person made it.

    Raises:
        UsageError: the folder is not a run, the checkpoint is missing or damaged, or the run needs trust.
    """
    return Player(**vars(load(run, checkpoint, trust)))


@dataclass(frozen=True)
class Report:
    """The episodes of an evaluation, in raw rewards."""

    env_id: str
    checkpoint: str
    deterministic: bool
    episodes: list[Episode]
    max_steps: int  # after which an episode was cut

    @property
    def mean(self) -> float:
        """Mean episode return."""
        return statistics.fmean(episode.episode_return for episode in self.episodes)

    def metric(self, name: str) -> float:
        """Mean of one of the environment's metrics."""
        return statistics.fmean(episode.metrics[name] for episode in self.episodes if episode.ended)

    def __str__(self) -> str:
        returns = [episode.episode_return for episode in self.episodes]
        spread, endless = statistics.pstdev(returns), sum(not episode.ended for episode in self.episodes)
        return (
            f"{self.env_id}, {self.checkpoint} checkpoint, {'deterministic' if self.deterministic else 'sampled'} "
            f"policy, {len(returns)} episodes: return {self.mean:.2f} ± {spread:.2f} (lowest {min(returns):.2f}, "
            f"highest {max(returns):.2f}), length {statistics.fmean(e.length for e in self.episodes):.1f}"
            + "".join(
                f", {name} {self.metric(name):.3f}" for name in next((e.metrics for e in self.episodes if e.ended), ())
            )
            + (
                f"; {endless} episodes did not end within {self.max_steps:,} steps and count with their return so far"
                if endless
                else ""
            )
        )


def evaluate(
    run: str | Path,
    episodes: int = 10,
    deterministic: bool = True,
    checkpoint: str = "latest",
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    max_steps: int = 0,
    trust: bool = False,
) -> Report:
    """Play episodes with a run's policy in new environments.

    Args:
        run: the run's folder.
        episodes: to play.
        deterministic: take the mode instead of a sample.
        checkpoint: as in `load_policy`.
        seed: of the environments and of sampling.
        env_kwargs: keyword arguments of the environment, which override the run's.
        max_steps: after which an episode is cut; 0: the environment's time limit, or 27,000.
        trust: as in `load_policy`.

    Raises:
        UsageError: see `load_policy`; or the policy was trained with other spaces than the environment has.
    """
    if episodes < 1:
        raise UsageError(f"episodes = {episodes} is too few; choose at least 1")
    if max_steps < 0:
        raise UsageError(f"max_steps = {max_steps} is too small; choose at least 0")
    _check_seed(seed)
    player = load_policy(run, checkpoint, trust)
    with contextlib.closing(envs_for(player, min(MAX_ENVS, episodes), env_kwargs)) as envs:
        torch.manual_seed(seed)
        limit = max_steps or time_limit(envs) or MAX_STEPS
        played = play(Collector(envs, FlatPolicy(player.policy)), episodes, seed, deterministic, limit)
    overrides = "".join(f", {name} {value}" for name, value in (env_kwargs or {}).items())
    return Report(player.config.env_id + overrides, checkpoint, deterministic, played, limit)


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise UsageError(f"seed = {seed} is too small; choose at least 0")


def film(
    run: str | Path,
    checkpoint: str = "latest",
    deterministic: bool = True,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    trust: bool = False,
) -> Path:
    """Film one episode as an MP4 under the run's videos/, and return the file's path; see `evaluate`.

    Raises:
        UsageError: imageio is not installed, or the environment cannot render frames.
    """
    try:
        import imageio.v2 as imageio
    except ImportError as error:
        raise UsageError("a video needs imageio: pip install imageio imageio-ffmpeg") from error
    _check_seed(seed)
    player = load_policy(run, checkpoint, trust)
    frames: list[np.ndarray] = []
    ended: list[Episode] = []
    with contextlib.closing(envs_for(player, 1, env_kwargs, "rgb_array")) as envs:
        torch.manual_seed(seed)
        collector = Collector(envs, FlatPolicy(player.policy))
        collector.reset(seed)
        fps = envs.metadata.get("render_fps", 30)
        while not ended and len(frames) < MAX_STEPS:
            frame = envs.render()
            if frame is None or len(frame) == 0 or frame[0] is None:
                raise UsageError(f"{player.config.env_id} does not render rgb_array frames; it cannot be filmed")
            frames.append(np.asarray(frame[0]))
            ended = collector.collect(1, deterministic)[1]
    folder = Path(run).absolute() / "videos"
    check_plain(folder, folder=True)
    folder.mkdir(exist_ok=True)
    overrides = "".join(f"__{name}_{value}".replace("/", "_") for name, value in (env_kwargs or {}).items())
    path = folder / f"{checkpoint}__s{seed}{overrides}.mp4"
    check_plain(path)
    imageio.mimsave(path, [*frames], fps=fps, macro_block_size=2)
    return path
