"""Scalars: what an iteration measured, by TensorBoard tag; NaN if there was nothing to measure."""

import math
import time

from ppo.errors import NonFiniteError
from ppo.loop.assemble import Parts
from ppo.loop.episodes import Episode, averages
from ppo.loop.play import play
from ppo.loop.rollout import Rollout
from ppo.machine.process import Stop, Stopped


def scalars(parts: Parts, rollout: Rollout, episodes: list[Episode], stats: dict[str, float]) -> dict[str, float]:
    """Return the scalars of a rollout and the update on it.

    Args:
        parts: the collector, learner and reference, which have timed themselves.
        rollout: collected.
        episodes: that ended in it.
        stats: of the learner.
    """
    clipped = parts.policy.head.clipped_fraction(rollout.actions[rollout.valid])
    collector, losses = parts.collector, {f"losses/{name}": x for name, x in stats.items() if name != "learning_rate"}
    split = {
        "time/environment": collector.env_seconds,
        "time/inference": collector.seconds - collector.env_seconds,
        "time/update": parts.learner.seconds,
        **({"time/reference": parts.reference.seconds} if parts.reference else {}),
    }
    return {
        **averages(episodes, collector.metrics, "charts", "episode"),
        "charts/episodes": float(len(episodes)),
        "charts/SPS": float(rollout.valid.sum()) / sum(split.values()),
        "charts/learning_rate": stats["learning_rate"],
        "charts/clipped_actions": math.nan if clipped is None else float(clipped),
        **losses,
        **split,
    }


def evaluate(
    parts: Parts, episodes: int, seed: int, max_steps: int, stop: Stop
) -> tuple[list[Episode], dict[str, float]]:
    """Play deterministic episodes in the training environments, which begin anew after a checkpoint anyway.

    Args:
        parts: the collector plays.
        episodes: to play; 0 for none.
        seed: of the environments.
        max_steps: of one episode.
        stop: asked before each step; True abandons the evaluation.

    Returns:
        The episodes, and their scalars.

    Raises:
        NonFiniteError: as in training.
    """
    begin, played = time.perf_counter(), list[Episode]()
    try:
        if episodes:
            played = play(parts.collector, episodes, seed, max_steps=max_steps, stop=stop)
    except Stopped:
        pass  # the row says that there was no evaluation; the caller sees the signal
    except NonFiniteError as error:
        raise NonFiniteError(f"while evaluating: {error}", error.tensors) from error
    return played, {
        **averages(played, parts.collector.metrics, "eval", "eval"),
        "eval/unfinished": float(sum(not episode.ended for episode in played)) if played else math.nan,
        "time/evaluation": time.perf_counter() - begin,
    }
