"""Play whole episodes with a policy, for an evaluation."""

from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode

MAX_STEPS = 27_000  # the longest episode that is usual anywhere: Atari's 108,000 frames


def play(collector: Collector, episodes: int, seed: int, deterministic: bool = True) -> list[Episode]:
    """Play whole episodes from a reset and return them.

    Each environment plays its share, so that short episodes are not counted more often because they end sooner; where
    some play one more, they are spread evenly, since those side by side may share a prompt. Where an environment does
    not end an episode within MAX_STEPS, playing stops and those under way count as they stand.
    """
    size = collector.envs.num_envs
    shares = {n: (n + 1) * episodes // size - n * episodes // size for n in range(size)}
    collector.reset(seed)
    played: dict[int, list[Episode]] = {n: [] for n in shares}
    while any(len(played[n]) < shares[n] and collector.lengths[n] < MAX_STEPS for n in shares):
        for episode in collector.collect(32, deterministic)[1]:
            if len(played[episode.env]) < shares[episode.env]:
                played[episode.env].append(episode)
    for n, found in played.items():
        if len(found) < shares[n]:
            found.append(Episode(n, float(collector.returns[n]), int(collector.lengths[n]), ended=False))
    return [episode for found in played.values() for episode in found]
