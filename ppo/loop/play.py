"""Play whole episodes with a policy, for an evaluation."""

from ppo.envs.text_env import evaluation
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode

MAX_STEPS = 27_000  # the longest usual episode: 108,000 frames of Atari


def play(collector: Collector, episodes: int, seed: int, deterministic: bool = True) -> list[Episode]:
    """Play whole episodes from a reset and return them.

    Every environment plays an equal share; taking the first episodes to finish would over-count short ones. Any remainder is
    spread evenly, because neighbouring environments may share a prompt. If an environment does not end an episode within
    MAX_STEPS, playing stops, and episodes under way count as they stand.
    """
    size = collector.envs.num_envs
    shares = {n: (n + 1) * episodes // size - n * episodes // size for n in range(size)}
    with evaluation(collector.envs):
        collector.reset(seed)
        tally, played = collector.tally, {n: list[Episode]() for n in shares}
        while any(len(played[n]) < shares[n] and tally.lengths[n] < MAX_STEPS for n in shares):
            for episode in collector.collect(32, deterministic)[1]:
                if len(played[episode.env]) < shares[episode.env]:
                    played[episode.env].append(episode)
    for n, own in played.items():
        if len(own) < shares[n]:
            own.append(Episode(n, float(tally.returns[n]), int(tally.lengths[n]), ended=False))
    return [episode for own in played.values() for episode in own]
