"""Evaluation: play episodes with a run's policy, report, film."""

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from ppo.config.setting import check_whole
from ppo.envs import time_limit
from ppo.errors import UsageError
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode
from ppo.loop.play import MAX_STEPS, play
from ppo.loop.rollout import Rollout
from ppo.machine.flat import FlatPolicy
from ppo.machine.phase import phase
from ppo.numbers import count, number
from ppo.player import load_policy
from ppo.run.files import check_plain
from ppo.run.load import envs_for

MAX_ENVS = 16  # of an evaluation


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
        endless = sum(not episode.ended for episode in self.episodes)
        text = (
            f"{self.env_id}, {self.checkpoint} checkpoint, {'deterministic' if self.deterministic else 'sampled'} "
            f"policy, {count(len(returns), 'episode')}: return {number(self.mean)}"
        )
        if len(returns) > 1:  # ± the sample's standard deviation, with n − 1
            lowest, highest = number(min(returns)), number(max(returns))
            text += f" ± {number(statistics.stdev(returns))} (lowest {lowest}, highest {highest})"
        text += f", length {number(statistics.fmean(e.length for e in self.episodes))}"
        for name in next((e.metrics for e in self.episodes if e.ended), ()):
            text += f", {name} {number(self.metric(name))}"
        if endless:
            text += f"; {count(endless, 'episode')} did not end within {count(self.max_steps, 'step')}, "
            text += "and the return so far counts"
        return text


def evaluate(
    run: str | Path,
    episodes: int = 10,
    deterministic: bool | None = None,
    checkpoint: str = "latest",
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    max_steps: int = 0,
    trust: bool = False,
    told: bool = False,
    keep: Callable[[Collector, Rollout], None] = lambda collector, rollout: None,
) -> Report:
    """Play episodes with a run's policy in new environments.

    Args:
        run: the run's folder.
        episodes: to play.
        deterministic: take the mode instead of a sample; None: as in the run's own evaluations.
        checkpoint: as in `load_policy`.
        seed: of the environments and of sampling.
        env_kwargs: keyword arguments of the environment, which override those of the run's own evaluations.
        max_steps: after which an episode is cut; 0: the environment's time limit, or 27,000.
        trust: as in `load_policy`.
        told: observations have what the critic alone sees.
        keep: as in `ppo.loop.play.play`.

    Raises:
        UsageError: see `load_policy`; or the policy was trained with other spaces than the environment has.
    """
    for name, value, low in (("episodes", episodes, 1), ("max_steps", max_steps, 0), ("seed", seed, 0)):
        check_whole(name, value, low)
    player = load_policy(run, checkpoint, trust, told)
    deterministic = not player.config.eval_sampled if deterministic is None else deterministic
    with contextlib.closing(envs_for(player, min(MAX_ENVS, episodes), env_kwargs)) as envs:
        torch.manual_seed(seed)
        limit = max_steps or time_limit(envs) or MAX_STEPS
        with phase(f"playing {count(episodes, 'episode')} of at most {count(limit, 'step')}"):
            played = play(Collector(envs, FlatPolicy(player.policy)), episodes, seed, deterministic, limit, keep=keep)
    overrides = "".join(f", {name} {value}" for name, value in (env_kwargs or {}).items())
    return Report(player.config.env_id + overrides, checkpoint, deterministic, played, limit)


def film(
    run: str | Path,
    checkpoint: str = "latest",
    deterministic: bool | None = None,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    max_steps: int = 0,
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
    check_whole("seed", seed, 0)
    player = load_policy(run, checkpoint, trust)
    deterministic = not player.config.eval_sampled if deterministic is None else deterministic
    with contextlib.closing(envs_for(player, 1, env_kwargs)) as envs:
        modes = envs.metadata.get("render_modes") or []
    if "rgb_array" not in modes:
        others = f"its render modes are {', '.join(modes)}, not rgb_array" if modes else "it has no render modes"
        raise UsageError(f"{player.config.env_id} cannot be filmed: {others}")
    frames: list[np.ndarray] = []
    ended: list[Episode] = []
    with contextlib.closing(envs_for(player, 1, env_kwargs, "rgb_array")) as envs:
        torch.manual_seed(seed)
        collector = Collector(envs, FlatPolicy(player.policy))
        collector.reset(seed)
        fps = envs.metadata.get("render_fps", 30)
        while not ended and len(frames) < (max_steps or MAX_STEPS):
            frames.append(_frame(envs, player.config.env_id))
            ended = collector.collect(1, deterministic)[1]
    folder = Path(run).absolute() / "videos"
    check_plain(folder, folder=True)
    folder.mkdir(exist_ok=True)
    overrides = "".join(f"__{name}_{value}".replace("/", "_") for name, value in (env_kwargs or {}).items())
    path = folder / f"{checkpoint}__s{seed}{overrides}.mp4"
    check_plain(path)
    imageio.mimsave(path, [*frames], fps=fps, macro_block_size=2)
    return path


def _frame(envs: VectorEnv, env_id: str) -> np.ndarray:
    """Return the picture that the first environment renders, (height, width, 3) uint8."""
    pictures = envs.render()
    if pictures is None or len(pictures) == 0 or pictures[0] is None:
        raise UsageError(f"{env_id} cannot be filmed: its render() returns no frame in the mode rgb_array")
    frame = np.asarray(pictures[0])
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise UsageError(
            f"{env_id} renders an array of shape {frame.shape} and dtype {frame.dtype}; a film needs (height, width, 3) "
            "of uint8, from 0 to 255"
        )
    return frame
