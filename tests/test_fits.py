"""What an environment declares and returns fits its spaces, or one sentence says what does not."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from ppo.envs.fits import choices, flat_mask, misfit, opt_in, sized_mask, without_texts
from ppo.errors import UsageError

VECTOR = Box(-1.0, 1.0, (2,), np.float32)
PIXELS = Box(0, 255, (2,), np.uint8)
NESTED = Dict(a=VECTOR, b=Tuple([Discrete(3), MultiBinary(2)]))
BITS = np.array([0, 1], np.int8)


@pytest.mark.parametrize(
    ("space", "obs", "words"),
    [
        (VECTOR, np.zeros(3), "has the shape (3,), the space (2,)"),
        (VECTOR, np.zeros((2, 1)), "has the shape (2, 1), the space (2,)"),
        (VECTOR, 0.5, "0.5 has the shape (), the space (2,)"),
        (VECTOR, None, "None is not made of numbers"),
        (VECTOR, ["a", "b"], "['a', 'b'] is not made of numbers"),
        (VECTOR, [1, [2, 3]], "[1, [2, 3]] is not an array of shape (2,)"),
        (PIXELS, np.array([0.5, 1.0]), "has the dtype float64, the space uint8"),
        (PIXELS, np.array([300, 0]), "has the dtype int64, the space uint8"),
        (Discrete(5), 5, "5 is not one of 0 … 4"),
        (Discrete(5, start=-2), -3, "-3 is not one of -2 … 2"),
        (Discrete(5), 2.0, "2.0 has the dtype float64, the space int64"),
        (Discrete(5), np.array([3]), "array([3]) has the shape (1,), the space ()"),
        (MultiBinary(2), np.array([2, -1]), "array([ 2, -1]) must be zeros and ones"),
        (NESTED, {"a": [0, 0]}, "lacks the parts ['b'] of a Dict"),
        (NESTED, [0, 1], "[0, 1] lacks the parts ['a', 'b'] of a Dict"),
        (NESTED, {"a": [0, 0], "b": (3, BITS)}, "3 at 'b.0' is not one of 0 … 2"),
        (NESTED, {"a": [0, 0], "b": (2,)}, "(2,) at 'b' lacks the parts [1] of a Tuple"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(space, obs, words):
    assert words in misfit(space, obs)
    assert len(misfit(space, obs).splitlines()) == 1


@pytest.mark.parametrize(
    ("space", "obs"),
    [
        (VECTOR, np.zeros(2)),  # float64
        (VECTOR, [5, -5]),  # outside the bounds, which training does not use
        (PIXELS, np.array([True, False])),
        (Discrete(5), np.array(4, np.int32)),
        (NESTED, {"a": np.zeros(2), "b": [2, BITS], "more": 1}),
        (Text(3), "any"),
    ],
)
def test_what_gymnasium_can_stack_fits(space, obs):
    assert misfit(space, obs) == ""


def test_flat_mask_joins_the_masks_of_the_parts():
    assert flat_mask((np.array([1, 0]), np.array([0, 1, 1]))).tolist() == [1, 0, 0, 1, 1]
    assert flat_mask(np.array([[True, False], [False, True]])).tolist() == [1, 0, 0, 1]
    assert sized_mask([True, False], 2, 0).dtype == np.int8


@pytest.mark.parametrize(
    ("mask", "entry"),
    [([256, 1, 1], "256"), (np.array([1, 255, 1], np.uint8), "255"), (np.array([1, -1], np.int8), "-1"),
     ([1, 0.5], "0.5"), ([np.nan, 1], "nan"), ([0.0, -1e9], "-1000000000.0")],
)  # fmt: skip
def test_an_entry_of_a_mask_that_is_neither_0_nor_1_is_refused(mask, entry):
    with pytest.raises(
        UsageError, match=f"environment 3 has the entry {entry}; use 1 for allowed actions, 0 for others"
    ):
        sized_mask(mask, len(mask), 3)


@pytest.mark.parametrize("other", ["none", {"a": 1}, 1, None, ["a"], [], [{}, {}], np.array(1)])
def test_something_else_is_not_a_mask(other):
    assert flat_mask(other) is None


@pytest.mark.parametrize(
    ("space", "size"), [(Discrete(4), 4), (MultiDiscrete([[2, 3], [4, 5]]), 14), (VECTOR, 0), (Tuple([Discrete(2)]), 0)]
)
def test_the_entries_of_a_mask_are_the_choices_of_the_action(space, size):
    assert choices(space) == size
    with pytest.raises(
        UsageError, match=f"the action mask of environment 3 has 6 entries, .* has {size or 'no'} choices"
    ):
        sized_mask(np.ones(6), size, 3)


@pytest.mark.parametrize(
    "declared",
    [3, {"valid": 1}, {"value_ends": "yes"}, {"metrics": "success"}, {"metric": ("success",)}, {"metrics": (1,)}],
)
def test_metadata_of_another_form_is_refused(declared):
    with pytest.raises(
        UsageError, match=r"metadata\['ppo'\] = .* must be a dict with valid and value_ends .* and metrics"
    ):
        opt_in({"ppo": declared})


def test_without_the_key_nothing_is_declared():
    assert opt_in({"valid": True, "metrics": ("success",)}) == {"valid": False, "value_ends": False, "metrics": ()}
    declared = {"metrics": ["success"], "value_ends": True}
    assert opt_in({"ppo": declared}) == {"valid": False, "value_ends": True, "metrics": ("success",)}


@pytest.mark.parametrize(
    ("space", "kept", "texts"),
    [
        (Dict(a=VECTOR, b=Text(3), c=Text(4)), ["a"], ("b", "c")),
        (Dict(a=VECTOR, b=PIXELS), ["a", "b"], ()),
        (Dict(a=Text(3)), ["a"], ()),  # nothing would be left; it is refused elsewhere
    ],
)
def test_texts_of_a_dict_are_left_out(space, kept, texts):
    env = gymnasium.Env()
    env.observation_space = space
    env, dropped = without_texts(env)
    assert (list(env.observation_space), dropped) == (kept, texts)
