"""Playing whole episodes: equal shares, and the same episodes again from the same seed."""

import pytest
import torch
from counters import LENGTHS, MODES, N, collector_of, counters

from ppo import make_envs
from ppo.loop.play import play


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("episodes", "shares"),
    [(1, [0, 0, 1]), (3, [1, 1, 1]), (4, [1, 1, 2]), (5, [1, 2, 2]), (7, [2, 2, 3]), (30, [10] * 3)],
)
def test_play_gives_the_number_asked_for_in_equal_shares_however_long_episodes_are(mode, episodes, shares):
    envs = counters(mode)
    played = play(collector_of(envs, "mlp"), episodes, seed=0)
    assert [sum(episode.env == n for episode in played) for n in range(N)] == shares
    for env, share in enumerate(shares):
        lengths = [episode.length for episode in played if episode.env == env]
        assert lengths == [LENGTHS[env][i % 3] for i in range(share)]


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_is_cut_at_the_limit_and_its_environment_plays_no_more(mode):
    played = play(collector_of(counters(mode), "mlp"), 9, seed=0, max_steps=4)
    found = [[(x.length, x.ended) for x in played if x.env == n] for n in range(N)]
    assert found == [[(3, True), (4, False)], [(4, True), (1, True), (4, False)], [(4, False)]]
    assert [x.episode_return for x in played if not x.ended] == [4 * 10 + 6, 4 * (100 + 20) + 6, 4 * 200 + 6]


@pytest.mark.parametrize("policy", ["mlp", "gru"])
def test_deterministic_play_repeats_and_another_seed_plays_other_episodes(policy):
    envs = make_envs("CartPole-v1", 3)
    collector = collector_of(envs, policy)
    first, again, other = (play(collector, 6, seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_sampled_play_repeats_with_the_seed_of_its_samples():
    envs = make_envs("CartPole-v1", 3)
    collector = collector_of(envs, "mlp")
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(play(collector, 6, 5, deterministic=False))
    assert found[0] == found[1] != found[2]
