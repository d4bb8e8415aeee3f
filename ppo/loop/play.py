"""Play whole episodes with a policy, for an evaluation."""

from collections.abc import Callable

from ppo.envs import time_limit
from ppo.envs.agents import team_size
from ppo.envs.text_env import evaluation
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode
from ppo.loop.rollout import Rollout
from ppo.machine.distributed import size
from ppo.machine.process import Stop, never

MAX_STEPS = 27_000  # the longest usual episode: 108,000 frames of Atari


def shares_of(collector: Collector, episodes: int) -> dict[int, int]:
    """Return how many of the episodes each of a collector's environments plays, by its number; all agents of a team play its games."""
    own, team = collector.envs.num_envs, team_size(collector.envs)
    games = {n: n // team for n in range(collector.first, collector.first + own)}
    total = size() * own // team
    return {n: (game + 1) * episodes // total - game * episodes // total for n, game in games.items()}


def play(
    collector: Collector, episodes: int, seed: int, deterministic: bool = True, max_steps: int = MAX_STEPS,
    stop: Stop = never, keep: Callable[[Collector, Rollout], None] = lambda collector, rollout: None,
) -> list[Episode]:  # fmt: skip
    """Play whole episodes from a reset and return this rank's.

    Every environment, also of other ranks, plays an equal share; taking the first episodes to finish would over-count short ones. Any remainder is
    spread evenly, because neighbouring environments may share a prompt. An episode that does not end within `max_steps` counts as it
    stands, and its environment plays no further ones.

    Args:
        collector: steps the environments.
        episodes: to play; of several agents, games, each of which is an episode of every agent.
        seed: of the environments.
        deterministic: take the mode of the distribution instead of a sample.
        max_steps: of one episode.
        stop: asked before each step.
        keep: called with the collector and each rollout, in which further episodes may have begun.

    Raises:
        Stopped: `stop` returned True.
    """
    shares, limit = shares_of(collector, episodes), time_limit(collector.envs)
    ends_itself = 0 < limit <= max_steps  # then no rollout needs to end where an episode is to be cut
    with evaluation(collector.envs):
        collector.reset(seed)
        tally, played = collector.tally, {n: list[Episode]() for n in shares}
        while owing := {
            n: int(length) for n, length in zip(shares, tally.lengths, strict=True) if len(played[n]) < shares[n]
        }:
            left = max_steps if ends_itself else max_steps - max(owing.values())
            rollout, ended = collector.collect(min(32, left), deterministic, stop=stop)
            keep(collector, rollout)
            for episode in ended:
                if len(played[episode.env]) < shares[episode.env]:
                    played[episode.env].append(episode)
            for n, so_far, length in zip(shares, tally.returns, tally.lengths, strict=True):
                if len(played[n]) < shares[n] and length >= max_steps:
                    played[n].append(Episode(n, float(so_far), int(length), ended=False))
                    shares[n] = len(played[n])
    return [episode for several in played.values() for episode in several]
