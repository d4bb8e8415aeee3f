"""Scalars: what an iteration measured, by TensorBoard tag; NaN if there was nothing to measure."""

import math
import time

from ppo.config.goal import Goal, read_goal
from ppo.envs import time_limit
from ppo.errors import NonFiniteError
from ppo.loop.assemble import Parts
from ppo.loop.best import TEXT
from ppo.loop.episodes import Episode, averages
from ppo.loop.losses import STATS
from ppo.loop.play import MAX_STEPS, play
from ppo.loop.reference import REFERENCE
from ppo.loop.rollout import Rollout
from ppo.machine.distributed import gathered
from ppo.machine.phase import phase
from ppo.machine.process import Stop, Stopped
from ppo.numbers import count

# What every row has, besides the metrics of the environment and the coefficients that change.
LOGGED = (
    *(f"charts/{name}" for name in ("episodes", "SPS", "clipped_actions")),
    *(f"losses/{name}" for name in (*STATS, "grad_norm", "explained_variance", "epochs", "withheld")),
    *(f"time/{name}" for name in ("environment", "inference", "update", "evaluation")),
)


def tags(parts: Parts) -> list[str]:
    """Return the tags of the scalars that a run measures, before it has measured any."""
    evaluated = averages([], parts.evaluator.metrics, "eval", "eval").keys() | {"eval/unfinished"}
    return [
        *averages([], parts.collector.metrics, "charts", "episode"), *LOGGED,
        *(f"charts/{name}" for name in parts.learner.coefs.changing),
        *(evaluated if parts.config.eval_episodes else ()),
        *(TEXT if parts.best else ()), *((*REFERENCE, "time/reference") if parts.reference else ()),
    ]  # fmt: skip


def goal_of(parts: Parts) -> Goal | None:
    """Return the goal that `stop_at` names, None if there is none.

    Raises:
        UsageError: the run does not log its metric.
    """
    goal = read_goal(parts.config.stop_at)
    if goal is not None:
        goal.check(tags(parts))
    return goal


def scalars(parts: Parts, rollout: Rollout, episodes: list[Episode], stats: dict[str, float]) -> dict[str, float]:
    """Return the scalars of a rollout and the update on it.

    Args:
        parts: the collector, learner and reference, which have timed themselves.
        rollout: collected.
        episodes: that ended in it.
        stats: of the learner.
    """
    clipped = parts.policy.head.clipped_fraction(rollout.actions[rollout.valid])
    collector, coefs = parts.collector, parts.learner.coefs.schedules
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
        **{f"charts/{name}": x for name, x in stats.items() if name in coefs},
        "charts/clipped_actions": math.nan if clipped is None else float(clipped),
        **{f"losses/{name}": x for name, x in stats.items() if name not in coefs},
        **split,
    }


def evaluation_limit(parts: Parts) -> int:
    """Return the steps after which an evaluation cuts an episode."""
    by_budget = min(max(parts.config.total_timesteps // parts.config.num_envs, 1000), MAX_STEPS)
    return parts.config.eval_max_steps or time_limit(parts.evaluator.envs) or by_budget


def evaluate(parts: Parts, episodes: int, seed: int, stop: Stop) -> tuple[list[Episode], dict[str, float]]:
    """Play episodes with the policy as it is now.

    Args:
        parts: the evaluator plays. It may step the training environments, which begin anew after a checkpoint anyway.
        episodes: to play; 0 for none.
        seed: of the environments.
        stop: asked before each step; True abandons the evaluation.

    Returns:
        The episodes, and their scalars.

    Raises:
        NonFiniteError: as in training.
    """
    begin, max_steps = time.perf_counter(), evaluation_limit(parts)
    own: list[Episode] | None = []
    try:
        if episodes:
            with phase(f"evaluating the policy: {count(episodes, 'episode')} of at most {count(max_steps, 'step')}"):
                own = play(parts.evaluator, episodes, seed, not parts.config.eval_sampled, max_steps, stop)
    except Stopped:
        own = None  # the row says that there was no evaluation; the caller sees the signal
    except NonFiniteError as error:
        raise NonFiniteError(f"while evaluating: {error}", error.tensors) from error
    shares = gathered(own) if episodes else []
    played = [] if None in shares else [episode for several in shares for episode in several or ()]
    return played, {
        **averages(played, parts.evaluator.metrics, "eval", "eval"),
        "eval/unfinished": float(sum(not episode.ended for episode in played)) if played else math.nan,
        "time/evaluation": time.perf_counter() - begin,
    }
