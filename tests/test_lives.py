"""Lives: which loss ends the value, and where FIRE takes the place of an action."""

import numpy as np

from ppo.envs.lives import Lives

STEPS = [  # lives of two games after a step, and whether they have ended
    ([3, 2], [False, False]),
    ([2, 0], [False, False]),  # 0 lives for a moment before the end
    ([2, 3], [False, True]),  # the next game has begun
    ([1, 3], [False, False]),
    ([3, 2], [True, False]),
]


def test_a_lost_life_ends_the_value_unless_the_game_ends():
    lives = Lives()
    lives.begin(np.array([3, 3]))
    marks = [lives.marks(np.array(now), np.array(done)) for now, done in STEPS]
    assert [mark["value_ends"].tolist() for mark in marks] == [
        [False, True], [True, False], [False, False], [True, False], [False, True],
    ]  # fmt: skip
    assert all(mark["valid"].all() for mark in marks)


def test_fire_takes_the_place_of_the_next_action_which_is_no_decision():
    lives, actions = Lives(fire=1), np.array([7, 8])
    lives.begin(np.array([3, 3]))
    assert lives.press(actions).tolist() == [7, 8]
    assert lives.marks(np.array([2, 3]), np.zeros(2, bool))["valid"].tolist() == [False, True]
    assert lives.press(actions).tolist() == [1, 8]
    lives.marks(np.array([2, 3]), np.zeros(2, bool))
    assert lives.press(actions).tolist() == [7, 8]


def test_values_may_run_on_after_a_life():
    lives = Lives(end_values=False)
    lives.begin(np.array([3]))
    assert not lives.marks(np.array([2]), np.zeros(1, bool))["value_ends"].any()
