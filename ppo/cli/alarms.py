"""Alarms: signs in the rows of a run that something is wrong, in words, with what to change first.

An alarm is rare in a healthy run. Each is a warning sign of a tag in docs/metrics.md, held for a ninth of the budget. While
the return rises, or has risen and stays, no sign in the losses is an alarm: text/Reverse learns with a KL of 0.1 and a critic
that explains nothing, a solved task needs no entropy, and in it returns hardly vary, so that nothing is left to explain. Only entropy
that is gone early is one: a policy that has become certain explores no more, however its return rises.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from ppo.cli.history import BINS, History

RECENT = BINS // 9  # parts of the budget for which a sign must hold
# Share of the budget, and rows, before which there is no alarm: a healthy run may begin with anything.
EARLIEST, ROWS = 0.15, 20
MEANS = (  # tags that tell how a run learns, not whether it does
    "losses/entropy", "losses/explained_variance", "losses/approx_kl", "losses/clipfrac", "charts/clipped_actions",
)  # fmt: skip
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Alarm:
    """A warning sign of a tag.

    Attributes:
        tag: as in docs/metrics.md.
        words: what is wrong.
        remedy: what to change first.
        holds: of the history and the settings: whether there is the sign.
        always: it is an alarm also while the return rises.
    """

    tag: str
    words: str
    remedy: str
    holds: Callable[[History, Settings], bool]
    always: bool = False

    def __str__(self) -> str:
        return f"{self.words}: {self.remedy} ({self.tag.rpartition('/')[2]})"


def _recent(history: History, tag: str) -> list[float]:
    """Return the means of the last parts of the budget in which a tag was measured; [] if they are too few for a judgement."""
    means = history.measured(tag)
    return means[-RECENT:] if len(means) >= 2 * RECENT else []


def _course(history: History) -> tuple[float, float, float, float]:
    """Return the first and the best return of the run, as means over three parts, the best of the last parts, and the noise.

    All are NaN, of which nothing holds, if the parts are too few.
    """
    returns, recent = history.measured("charts/episodic_return"), _recent(history, "charts/episodic_return")
    if not recent:
        return (math.nan,) * 4
    smooth = [statistics.fmean(returns[n : n + 3]) for n in range(len(returns) - 2)]
    noise = statistics.median(abs(after - before) for before, after in itertools.pairwise(returns))
    return smooth[0], max(smooth), max(recent), noise


def thrives(history: History) -> bool:
    """Return whether the return has risen since the start and is near its best."""
    start, best, now, noise = _course(history)
    return now > start + noise and best - now <= 5 * noise


def _above(tag: str, limit: float) -> Callable[[History, Settings], bool]:
    return lambda history, _: min(_recent(history, tag), default=limit) > limit


def _choices(history: History, settings: Settings) -> bool:
    # The entropy of a Gaussian has no zero, so a share of it means nothing.
    return "charts/clipped_actions" not in history.latest and settings.get("action_bound") != "tanh"


def _entropy_fell_early(history: History, settings: Settings) -> bool:
    # In the first fifth, and not recovered since. A solved task (text/Reverse, FrozenLake) needs no entropy.
    early = [x for x in history.means("losses/entropy")[: BINS // 5] if not math.isnan(x)]
    fell = bool(early) and max(early[-1:] + history.measured("losses/entropy")[-1:]) < 0.1 * early[0]
    return fell and _choices(history, settings) and not _solved(history, settings)


def _solved(history: History, settings: Settings) -> bool:
    # The task says so, or the return has risen to the threshold with which the environment is registered; Taxi's best is 0.1 below.
    spec = gymnasium.registry.get(settings.get("env_id", ""))
    returns = history.measured("charts/episodic_return") or [math.nan]
    goal = math.inf if spec is None or spec.reward_threshold is None else spec.reward_threshold
    return history.latest.get("episode/solved", 0.0) > 0.8 or max(returns[-RECENT:]) >= goal - 0.05 * (
        goal - returns[0]
    )


def _entropy_gone(history: History, settings: Settings) -> bool:
    entropies, recent = history.measured("losses/entropy"), _recent(history, "losses/entropy")
    gone = _choices(history, settings) and bool(recent) and max(recent) < 0.01 * entropies[0]
    return gone and not _entropy_fell_early(history, settings)


def _critic_learns_nothing(history: History, settings: Settings) -> bool:
    # "Stays at or below 0". Without a baseline nobody asks the critic.
    means = history.measured("losses/explained_variance")
    asked = settings.get("baseline", True) and not settings.get("risk_quantile")
    return asked and bool(_recent(history, "losses/explained_variance")) and max(means) <= 0.02


def _kl_spikes(history: History, settings: Settings) -> bool:
    # 0 by construction with one step per iteration. A single spike, which heals, does not lift the mean of a part.
    return max(_recent(history, "losses/approx_kl")[-2:], default=0.0) > 0.1


def _steps_too_small(history: History, settings: Settings) -> bool:
    # "0 throughout with several epochs"; a rate that has been annealed away no longer clips anything.
    means = history.measured("losses/clipfrac")
    return settings.get("update_epochs", 1) > 1 and bool(_recent(history, "losses/clipfrac")) and max(means) < 1e-3


def _return_fell(history: History, settings: Settings) -> bool:
    # "Falls for good after a peak": below half of what had been gained, for twice as long as other signs, and not by noise.
    start, best, now, noise = _course(history)
    now = max([now, *history.measured("charts/episodic_return")[-2 * RECENT :]])
    return now < (start + best) / 2 and best - now > 5 * noise


def _never_differs(history: History, settings: Settings) -> bool:
    returns = history.measured("charts/episodic_return")
    return bool(_recent(history, "charts/episodic_return")) and min(returns) == max(returns)


def _does_not_move(history: History, settings: Settings) -> bool:
    # From the start: a learning rate that is annealed away ends there. 0 by construction with one step per iteration.
    steps = settings.get("update_epochs", 1) * settings.get("num_minibatches", 1)
    means = history.measured("losses/approx_kl")
    return steps > 1 and bool(_recent(history, "losses/approx_kl")) and max(means) < 1e-6


def _no_episode(history: History, settings: Settings) -> bool:
    return "charts/episodes" in history.latest and history.episodes == 0


def _always_one_epoch(history: History, settings: Settings) -> bool:
    epochs = max(_recent(history, "losses/epochs"), default=2.0)
    return settings.get("target_kl", 0.0) > 0 and settings.get("update_epochs", 1) > 1 and epochs == 1


def _no_preference_found(history: History, settings: Settings) -> bool:
    return min(_recent(history, "reward/loss"), default=0.0) > 0.69  # log 2, the loss of guessing


ALARMS = (
    Alarm("charts/episodes", "no episode ended", "give the environment a time limit", _no_episode),
    Alarm("charts/episodic_return", "the return fell for good", "lower --learning-rate", _return_fell),
    Alarm("charts/episodic_return", "every return is the same", "check the rewards", _never_differs),
    Alarm("losses/entropy", "the entropy is gone", "raise --ent-coef", _entropy_gone),
    Alarm("losses/entropy", "the entropy fell early", "raise --ent-coef", _entropy_fell_early, always=True),
    Alarm("losses/explained_variance", "the critic explains nothing", "scale rewards", _critic_learns_nothing),
    Alarm("losses/approx_kl", "KL spikes", "lower --learning-rate", _kl_spikes),
    Alarm("losses/approx_kl", "the policy does not move", "scale rewards", _does_not_move),
    Alarm("losses/clipfrac", "half of the ratios are clipped", "lower --learning-rate", _above("losses/clipfrac", 0.5)),
    Alarm("losses/clipfrac", "no ratio is ever clipped", "raise --learning-rate", _steps_too_small),
    Alarm("losses/epochs", "each update ends after one epoch", "raise --target-kl", _always_one_epoch),
    Alarm("charts/clipped_actions", "all actions are clipped", "lower --log-std-init", _above("charts/clipped_actions", 0.9)),
    Alarm("reward/loss", "the model guesses", "rate more texts, or train longer", _no_preference_found),
)  # fmt: skip


def alarms(history: History, settings: Settings) -> list[Alarm]:
    """Return the alarms of a run.

    Args:
        history: the rows so far.
        settings: of the run, as config.json has them.
    """
    if history.spent < EARLIEST or history.rows < ROWS:
        return []
    imitates = (
        settings.get("reward") == "none"
    )  # a teacher, who may be certain; nothing weighs ratios, nobody asks the critic
    quiet = MEANS if imitates or thrives(history) else ()
    loud = [alarm for alarm in ALARMS if alarm.tag not in quiet or (alarm.always and not imitates)]
    return [alarm for alarm in loud if alarm.holds(history, settings)]
