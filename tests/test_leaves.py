"""A leaf is the same to NumPy and torch, its examples lie in its space, and what it cannot be is said in a phrase."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Text
from hypothesis import given, settings
from space_samples import leaf_spaces
from torch import nn

from ppo.envs.leaves import KINDS, leaf_of

checked = settings(max_examples=25, deadline=None, derandomize=True)
ACTIONS = [
    Discrete(4, start=-1),
    MultiDiscrete([[2, 3], [4, 5]], dtype=np.int32, start=[[0, 1], [2, 3]]),
    MultiBinary([2, 3]),
    Box(np.array([-2, 0], np.float64), np.array([1, 10], np.float64), dtype=np.float64),
    Box(-np.inf, np.inf, (2,)),
    Box(-1, 1, ()),
]


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_actions_are_the_same_from_numpy_and_torch(space, squash):
    leaf = leaf_of(space)
    packed = np.random.default_rng(0).integers(0, 2, (5, leaf.size)).astype(np.float32)  # 0 or 1: every kind has it
    ours, theirs = leaf.to_env(packed, squash), leaf.to_env(torch.from_numpy(packed), squash)
    assert ours.shape == (5, *space.shape)
    assert ours.dtype == space.dtype == theirs.numpy().dtype
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


@checked
@given(leaf_spaces)
def test_examples_are_values_of_a_bounded_space(space):
    leaf = leaf_of(space)
    examples = leaf.examples(3)
    assert examples.shape == (3, *space.shape)
    assert examples.dtype == space.dtype
    if not isinstance(space, Box):
        assert all(space.contains(x) for x in examples)


@checked
@given(leaf_spaces)
def test_an_embedding_is_a_linear_layer_on_the_features(space):
    leaf, layer = leaf_of(space), nn.Linear(leaf_of(space).num_features, 4)
    x = torch.from_numpy(np.asarray(leaf.to_packed(leaf.examples(6)))).unflatten(0, (2, 3))
    x = x.to(leaf.packed_dtype)
    (output,) = leaf.embed(x, [layer])
    torch.testing.assert_close(output, layer(leaf.features(x)))


@checked
@given(leaf_spaces)
def test_json_without_the_type_is_the_space_again(space):
    leaf = leaf_of(space)
    assert type(leaf).from_json(leaf.to_json()) == space


def test_bounds_are_in_units_of_half_the_range():
    # Bounds −2…1 and 0…10: the halves are 1.5 and 5. Without a range, the unit is 1.
    assert leaf_of(ACTIONS[3]).bounds.tolist() == [[-1, -1], [1, 1], [1.5, 5]]
    assert leaf_of(ACTIONS[4]).bounds.tolist() == [[-np.inf] * 2, [np.inf] * 2, [1, 1]]
    assert leaf_of(Box(3, 3, (1,))).bounds.tolist() == [[0], [0], [1]]
    assert leaf_of(Discrete(3)).bounds.shape == (3, 0)


@pytest.mark.parametrize(
    ("space", "role", "squash", "problem"),
    [
        (Text(3), "observation", False, "is Text, which is not supported; wrap the environment so that it uses Box"),
        (Box(0, 1, (0, 2)), "observation", False, "is empty"),
        (Box(0, 5, (2,), np.int32), "observation", False, ""),
        (Box(0, 5, (2,), np.int32), "action", False, "is a Box of int32; use Discrete"),
        (Box(0, np.inf, (2,)), "action", False, ""),
        (Box(0, np.inf, (2,)), "action", True, "has no finite range to squash into"),
        (Box(0, np.inf, (2,)), "observation", True, ""),
    ],
)
def test_a_problem_says_why_and_what_to_do(space, role, squash, problem):
    text = leaf_of(space).problem(role, squash)
    assert text.startswith(problem)
    assert bool(text) == bool(problem)


def test_a_subclass_of_a_space_is_of_its_kind():
    class Tokens(Discrete):
        pass

    assert type(leaf_of(Tokens(3))) is KINDS[Discrete]
