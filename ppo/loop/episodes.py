"""Episodes: their returns and lengths, counted over rollouts, and means of them by TensorBoard tag."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Episode:
    """An episode that ended in a rollout, in raw rewards."""

    env: int
    episode_return: float
    length: int
    ended: bool = True  # False where `play` gave up on it
    metrics: dict[str, float] = field(default_factory=dict)  # measured by the environment at the episode's end


class Tally:
    """Returns and lengths of the episodes under way.

    Args:
        num_envs: N.
        metrics: names of the environment's metrics, M of them.
        first: number of the first environment.
    """

    def __init__(self, num_envs: int, metrics: tuple[str, ...], first: int = 0) -> None:
        self.metrics, self.first = metrics, first
        self.returns, self.lengths = np.zeros(num_envs), np.zeros(num_envs, np.int64)  # (N,)

    def count(self, rewards: np.ndarray, valid: np.ndarray, done: np.ndarray, measures: np.ndarray) -> list[Episode]:
        """Return the episodes that ended, in the order of their ends, and carry on those under way.

        Each return is summed from its own rewards alone, so that it does not depend on the episodes before it or on where
        rollouts begin.

        Args:
            rewards: (T, N).
            valid: (T, N) bool; an episode's length is the number of its decisions.
            done: (T, N) bool.
            measures: (T, N, M) metrics, where done.
        """
        episodes, begin = list[Episode](), 0
        for end in [*(np.flatnonzero(done.any(1)) + 1).tolist(), len(done)]:
            self.returns = np.cumsum(np.concatenate([self.returns[None], rewards[begin:end]]), axis=0)[-1]
            self.lengths = self.lengths + valid[begin:end].sum(0)
            for n in np.flatnonzero(done[end - 1]) if end > begin else ():
                metrics = dict(zip(self.metrics, measures[end - 1, n].tolist(), strict=True))
                sums = float(self.returns[n]), int(self.lengths[n])
                episodes.append(Episode(self.first + int(n), *sums, metrics=metrics))
                self.returns[n], self.lengths[n] = 0.0, 0
            begin = end
        return episodes


def averages(episodes: list[Episode], metrics: tuple[str, ...], place: str, metric_place: str) -> dict[str, float]:
    """Return means over episodes by tag; NaN without an episode.

    Args:
        episodes: that ended.
        metrics: names of the environment's metrics.
        place: first part of the tags of return and length.
        metric_place: first part of the tags of metrics.
    """
    return {
        f"{place}/episodic_return": _mean([episode.episode_return for episode in episodes]),
        f"{place}/episodic_length": _mean([episode.length for episode in episodes]),
        **{f"{metric_place}/{name}": _mean([e.metrics[name] for e in episodes if e.ended]) for name in metrics},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
