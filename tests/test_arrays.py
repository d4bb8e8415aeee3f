"""Recorded episodes that do not fit an environment are refused with the row and the value."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple

from ppo.demonstrations import demonstrations_of
from ppo.errors import UsageError

OBS, ACTION = (
    Dict(eye=Box(0, 255, (2, 2), np.uint8), place=Discrete(3, start=1)),
    Tuple([Box(-1, 1, (2,)), MultiBinary(2)]),
)


def arrays(**changes):
    own = {
        "observations/eye": np.full((4, 2, 2), 200), "observations/place": np.array([1.0, 2, 3, 1]),
        "actions/0": np.zeros((4, 2)), "actions/1": np.ones((4, 2), bool), "rewards": np.arange(4),
        "terminations": np.array([0, 1, 0, 0]), "truncations": np.array([0, 0, 0, 1]),
    }  # fmt: skip
    changed = own | {name.replace("_", "/"): x for name, x in changes.items()}
    return {name: np.asarray(x) for name, x in changed.items() if x is not None}


def made(**changes):
    return demonstrations_of(arrays(**changes), OBS, ACTION, "d.npz")


def test_arrays_take_the_types_of_the_spaces_and_episodes_their_rows():
    demonstrations = made(mine=np.zeros(4))
    assert [str(x.dtype) for x in demonstrations.observations] == ["uint8", "int64"]
    assert [str(x.dtype) for x in demonstrations.actions] == ["float32", "int8"]
    assert demonstrations.episodes == [range(2), range(2, 4)]
    assert demonstrations.valid.tolist() == [True] * 4
    assert str(demonstrations) == "2 episodes, 4 steps, return 3 (lowest 1, highest 5)"


def test_rewards_and_one_kind_of_end_may_be_missing():
    demonstrations = made(rewards=None, terminations=None)
    assert (demonstrations.rewards, demonstrations.episodes) == (None, [range(4)])
    assert str(demonstrations) == "1 episode, 4 steps, without rewards"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"observations_place": None}, "has no observations/place, which the environment's spaces need; it has actions/0"),
        ({"observations_nose": [1] * 4}, "has observations/nose, which the environment's spaces lack"),
        ({"rewards": [0.0] * 3}, "d.npz has 3 rows of rewards, but 4 of observations/eye"),
        ({"observations_eye": np.zeros((4, 4))}, r"observations/eye has the shape \(4, 4\), but the space Box"),
        ({"observations_place": [1, 4, 1, 1]}, "observations/place is 4 in row 1, which is not in Discrete"),
        ({"observations_place": [1, 1.5, 1, 1]}, "observations/place is 1.5 in row 1"),
        ({"actions_0": [[0, 0], [0, 0], [0, 1.5], [0, 0]]}, r"actions/0 is \[0. 1.5\] in row 2, which is not in Box"),
        ({"actions_0": np.full((4, 2), np.nan)}, r"actions/0 is \[nan nan\] in row 0, which is not finite"),
        ({"actions_1": np.full((4, 2), 2)}, r"actions/1 is \[2 2\] in row 0, which is not in MultiBinary"),
        ({"actions_0": np.full((4, 2), "a")}, "actions/0 has the dtype <U1; give numbers"),
        ({"rewards": [0, np.inf, 0, 0]}, "rewards is inf in row 1, which is not finite"),
        ({"terminations": [0, 2, 0, 0]}, "terminations is 2 in row 1, which is neither True nor False"),
        ({"truncations": [0, 0, 0, 0]}, "has 1 complete episode, and its last row does not end one"),
        ({"actions_0": np.full((4, 2), 0.5), "observations_eye": None}, "has no observations/eye"),
        ({"valid": [0, 0, 0, 0]}, "has no step whose action had an effect: valid is False in every row"),
        ({"terminations": None, "truncations": None}, "neither terminations nor truncations"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(changes, sentence):
    with pytest.raises(UsageError, match=sentence):
        made(**changes)


def test_an_observation_that_float32_cannot_hold_is_named():
    space, arrays = Box(-np.inf, np.inf, (1,), np.float64), {"actions": np.zeros(2, int), "truncations": [False, True]}
    arrays = {name: np.array(x) for name, x in (arrays | {"observations": [[1.0], [1e300]]}).items()}
    with pytest.raises(UsageError, match=r"observations is \[1.e\+300\] in row 1, which is too large for float32"):
        demonstrations_of(arrays, space, Discrete(2), "d.npz")


def test_no_rows_are_no_complete_episode():
    empty = {name: x[:0] for name, x in arrays().items()}
    with pytest.raises(UsageError, match="0 complete episodes"):
        demonstrations_of(empty, OBS, ACTION, "d.npz")


def test_bytes_beyond_the_bounds_of_their_space_are_refused():
    board = Dict(eye=Box(0, 1, (2, 2), np.uint8), place=Discrete(3, start=1))
    with pytest.raises(UsageError, match=r"observations/eye is .*200.* in row 0, which is not in Box\(0, 1"):
        demonstrations_of(arrays(), board, ACTION, "d.npz")
