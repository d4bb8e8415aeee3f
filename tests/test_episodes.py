"""Episodes are counted over rollouts, by their decisions, in raw rewards."""

import math

import numpy as np

from ppo.loop.episodes import Episode, Tally, averages


def column(*values):
    return np.array(values)[:, None]


def test_an_episode_that_two_rollouts_share_is_counted_once_and_whole():
    tally, never = Tally(1, ()), column(False, False)
    none = np.zeros((2, 1, 0))
    assert tally.count(column(1.0, 2.0), ~never, never, none) == []
    assert (tally.returns.tolist(), tally.lengths.tolist()) == ([3.0], [2])
    assert tally.count(column(4.0, 8.0), ~never, column(True, False), none) == [Episode(0, 7.0, 3)]
    assert (tally.returns.tolist(), tally.lengths.tolist()) == ([8.0], [1])


def test_a_length_is_the_number_of_decisions_and_metrics_are_those_of_the_end():
    tally = Tally(1, ("solved",))
    measures = np.array([[[0.0]], [[0.5]], [[0.25]]])
    episodes = tally.count(column(1.0, 1.0, 1.0), column(True, False, True), column(False, True, True), measures)
    assert episodes == [Episode(0, 2.0, 1, metrics={"solved": 0.5}), Episode(0, 1.0, 1, metrics={"solved": 0.25})]


def test_averages_are_by_tag_and_nan_without_an_episode():
    episodes = [Episode(0, 2.0, 4, metrics={"solved": 1.0}), Episode(1, 4.0, 6, metrics={"solved": 0.0})]
    assert averages(episodes, ("solved",), "charts", "episode") == {
        "charts/episodic_return": 3.0, "charts/episodic_length": 5.0, "episode/solved": 0.5,
    }  # fmt: skip
    assert all(math.isnan(value) for value in averages([], ("solved",), "eval", "eval").values())


def test_an_episode_that_play_gave_up_on_has_no_metrics_to_average():
    episodes = [Episode(0, 2.0, 4, metrics={"solved": 1.0}), Episode(1, 9.0, 9, ended=False)]
    means = averages(episodes, ("solved",), "eval", "eval")
    assert (means["eval/episodic_return"], means["eval/solved"]) == (5.5, 1.0)


def test_a_return_is_the_sum_of_its_own_rewards_to_the_last_bit():
    rewards, done = np.array([0.1, 0.2, 0.7, 1.0, 0.3, 1.0] * 3), np.ones(18, bool)
    episodes = Tally(1, ()).count(column(*rewards), column(*done), column(*done), np.zeros((18, 1, 0)))
    assert [episode.episode_return for episode in episodes] == rewards.tolist()
    whole, cut = Tally(1, ()), Tally(1, ())
    ends, valid = column(*[False] * 17, True), np.ones((18, 1), bool)
    (one,) = whole.count(column(*rewards), valid, ends, np.zeros((18, 1, 0)))
    parts = [
        cut.count(column(*rewards[n : n + 6]), valid[n : n + 6], ends[n : n + 6], np.zeros((6, 1, 0)))
        for n in (0, 6, 12)
    ]
    assert parts == [[], [], [one]]
