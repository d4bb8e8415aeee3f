"""A space is JSON and back, to the bit."""

import json
from collections import OrderedDict

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from hypothesis import given, settings
from space_samples import IMAGE, any_space

from ppo.envs.space_json import from_json, to_json
from ppo.envs.spaces import leaves


def assert_same(actual: gymnasium.Space, space: gymnasium.Space) -> None:
    """Compare spaces more strictly than Gymnasium's == does: bounds to the bit, and the order of keys."""
    assert actual == space
    assert type(actual) is type(space)
    if isinstance(space, Box):
        assert np.array_equal(actual.low, space.low)
        assert np.array_equal(actual.high, space.high)
        assert actual.low.dtype == space.low.dtype
    elif isinstance(space, Dict | Tuple):
        assert [path for path, _ in leaves(actual)] == [path for path, _ in leaves(space)]
        for (_, ours), (_, theirs) in zip(leaves(actual), leaves(space), strict=True):
            assert_same(ours.space, theirs.space)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(any_space)
def test_a_space_goes_through_strict_json_and_back(space):
    assert_same(from_json(json.loads(json.dumps(to_json(space), allow_nan=False))), space)


@pytest.mark.parametrize(
    "space",
    [
        MultiBinary(3),
        MultiBinary([3]),
        Discrete(3, start=-1, dtype=np.int32),
        MultiDiscrete([3, 4], dtype=np.int8, start=[-1, 2]),
        Box(-np.inf, np.inf, (2,), np.float64),
        Box(0, 1, (), np.float16),
        Box(0, 1, (2, 2, 3), bool),
        Box(np.array([0, 1], bool), np.array([1, 1], bool), (2,), bool),
        Box(-(2**40), 2**40 + 1, (1,), np.int64),
        Dict(OrderedDict(z=Discrete(2), a=IMAGE)),
        Dict(a=IMAGE, z=Discrete(2)),
    ],
    ids=repr,
)
def test_nothing_of_a_space_is_lost_in_json(space):
    assert_same(from_json(json.loads(json.dumps(to_json(space), allow_nan=False))), space)


def test_bounds_that_are_all_equal_are_written_once():
    assert to_json(IMAGE) == {"type": "Box", "shape": [4, 5, 3], "dtype": "uint8", "low": "0", "high": "255"}
