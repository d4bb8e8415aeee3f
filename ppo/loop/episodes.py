"""Episodes: what one came to, and the means over several by their TensorBoard tags."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Episode:
    """An episode that ended in a rollout, in raw rewards."""

    env: int
    episode_return: float
    length: int
    ended: bool = True  # False where `play` gave up on it
    metrics: dict[str, float] = field(default_factory=dict)  # what the environment measured at its end


def averages(episodes: list[Episode], metrics: tuple[str, ...], place: str, measured: str) -> dict[str, float]:
    """Return means over episodes by tag; NaN where there is none.

    Args:
        episodes: that ended.
        metrics: names of what the environment measures.
        place: first part of the tags of return and length.
        measured: first part of the tags of metrics.
    """
    return {
        f"{place}/episodic_return": _mean([episode.episode_return for episode in episodes]),
        f"{place}/episodic_length": _mean([episode.length for episode in episodes]),
        **{f"{measured}/{name}": _mean([e.metrics[name] for e in episodes if e.ended]) for name in metrics},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
