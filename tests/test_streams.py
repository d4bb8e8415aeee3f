"""Streams: sequences one after another in each of N places, cut into windows."""

import numpy as np

from ppo.supervised.streams import tables


def test_a_piece_that_a_window_cuts_goes_on_in_the_next_window():
    pieces = iter(
        np.array([[first + n for n in range(5)], [int(n == 0) for n in range(5)]]) for first in range(0, 90, 10)
    )
    first, second = (table for table, _ in zip(tables(pieces, 4, 2), range(2), strict=False))
    assert first.shape == second.shape == (2, 4, 2)
    assert np.concatenate([first, second], axis=1)[0].T.tolist() == [
        [0, 1, 2, 3, 4, 20, 21, 22],
        [10, 11, 12, 13, 14, 30, 31, 32],
    ]
    assert np.concatenate([first, second], axis=1)[1, :, 0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
