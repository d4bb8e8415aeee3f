"""Any observation becomes one tensor and back, whatever its space."""

from collections import OrderedDict

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st
from space_samples import IMAGE, N, any_space, batch

from ppo.envs.spaces import Packer, check_space, has_image, has_mask, leaf_values, leaves, nest, packed_size
from ppo.errors import UsageError

checked = settings(max_examples=60, deadline=None, derandomize=True)


def packed_shape(space):
    """A leaf keeps its shape; a Dict or Tuple is one vector of all its numbers, an index being one."""
    if isinstance(space, Dict | Tuple):
        parts = space.spaces.values() if isinstance(space, Dict) else space.spaces
        return (sum(int(np.prod(packed_shape(part))) for part in parts),)
    return tuple(space.shape or ())


def mapped(change, obs):
    """Apply a function to each array of a batch."""
    if isinstance(obs, dict):
        return {key: mapped(change, part) for key, part in obs.items()}
    return tuple(mapped(change, part) for part in obs) if isinstance(obs, tuple) else change(obs)


def flat_leaves(space: gymnasium.Space, value: object) -> list[np.ndarray]:
    """Return the leaves of one observation, indices counted from 0, in the order of the space."""
    if isinstance(space, Dict | Tuple):
        named = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        return [leaf for key, part in named for leaf in flat_leaves(part, value[key])]
    return [np.asarray(value) - space.start if isinstance(space, Discrete | MultiDiscrete) else np.asarray(value)]


@checked
@given(any_space, st.integers(0, 1000))
def test_unpack_gives_back_what_was_packed(space, seed):
    samples, obs = batch(space, seed)
    packer = Packer(space)
    packed, plain = packer(obs), packer.join([x for _, x in leaf_values(space, obs)], plain=True)
    assert plain.shape == (N, *packed_shape(space))
    assert packed[0].nbytes == packer.row_bytes <= plain[0].nbytes + 3
    assert torch.equal(packer(mapped(torch.as_tensor, obs)), packed)
    expected = [np.stack(column) for column in zip(*(flat_leaves(space, x) for x in samples), strict=True)]
    for lead in (packed, packed.unsqueeze(0), plain):  # (N, …) and (T, N, …)
        for (_, leaf), x, column in zip(leaves(space), packer.unpack(lead), expected, strict=True):
            assert x.shape == (*lead.shape[: lead.dim() - len(packed_shape(space))], *leaf.shape)
            np.testing.assert_allclose(x.numpy().reshape(column.shape), column, rtol=1e-6)


@checked
@given(any_space, st.integers(0, 1000))
def test_nest_is_the_inverse_of_leaf_values(space, seed):
    value = batch(space, seed)[1]
    again = nest(space, iter([x for _, x in leaf_values(space, value)]))
    assert repr(again) == repr(value)
    assert packed_size(space) == int(np.prod(packed_shape(space)))


def test_paths_name_the_parts_in_packing_order():
    space = Dict(OrderedDict(z=Discrete(2), a=Tuple([Box(-1, 1, (2,)), Dict(k=MultiBinary(1))])))
    assert [path for path, _ in leaves(space)] == ["z", "a.0", "a.1.k"]
    assert [path for path, _ in leaves(Discrete(2))] == [""]


def test_packed_numbers_stand_in_the_order_of_the_space():
    space = Dict(OrderedDict(z=Discrete(3, start=-1), a=Box(-9, 9, (2, 2)), m=MultiDiscrete([4, 4], start=[1, 2])))
    obs = {"z": np.array([1]), "a": np.array([[[1.5, 2], [3, 4]]], np.float32), "m": np.array([[1, 5]])}
    assert Packer(space)(obs).tolist() == [[2, 1.5, 2, 3, 4, 0, 3]]


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        (IMAGE, torch.uint8),
        (MultiBinary(3), torch.uint8),
        (Dict(image=IMAGE, bits=MultiBinary(3)), torch.uint8),
        (Dict(image=IMAGE, number=Box(-1, 1, ())), torch.uint8),
        (Box(0, 1, (10, 10, 4), bool), torch.uint8),
        (Dict(bits=MultiBinary(3), number=Box(-1, 1, ())), torch.float32),
        (Discrete(3, start=-2), torch.int64),
        (MultiDiscrete([2, 3]), torch.int64),
        (Tuple([Discrete(3)]), torch.int64),
        (Tuple([Discrete(3), Discrete(3)]), torch.float32),
        (Box(-1, 1, (2,), np.float64), torch.float32),
    ],
    ids=str,
)
def test_an_observation_takes_no_more_memory_than_it_needs(space, dtype):
    assert Packer(space)(batch(space)[1]).dtype == dtype


def test_pixels_among_numbers_stay_bytes():
    space = Dict(OrderedDict(eye=IMAGE, turn=Discrete(3), speed=Box(-9, 9, (2,)), bits=MultiBinary(3)))
    obs = {"eye": np.full((1, 4, 5, 3), 7, np.uint8), "turn": np.array([2]), "speed": np.float32([[1.5, -2]]),
           "bits": np.int8([[0, 1, 1]])}  # fmt: skip
    packer = Packer(space)
    row = packer(obs)
    # Three numbers of four bytes, 60 pixels, three bits, and a byte so that the next row's numbers are aligned.
    assert row.shape == (1, 3 * 4 + 60 + 3 + 1)
    assert row[0, 12:].tolist() == [7] * 60 + [0, 1, 1, 0]
    assert packer.numbers(row).tolist() == [[2, 1.5, -2]]
    plain = packer.join(list(obs.values()), plain=True)
    assert plain.tolist() == [[7] * 60 + [2, 1.5, -2, 0, 1, 1]]


ALIASED = {
    "floats": Box(-1, 1, (2,)),
    "image": IMAGE,
    "index": Discrete(4),
    "offset index": Discrete(4, start=2),
    "offset indices": MultiDiscrete([3, 3], start=[1, 1]),
    "bits": MultiBinary(4),
    "dict of one": Dict(only=Box(-1, 1, (2,))),
    "dict of one image": Dict(only=IMAGE),
    "tuple": Tuple([Box(-1, 1, (2,)), Discrete(3, start=1)]),
}


@pytest.mark.parametrize("space", ALIASED.values(), ids=ALIASED)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_packing_neither_aliases_nor_changes_what_the_environment_gave(space, kind):
    arrays: list[np.ndarray] = []
    mapped(arrays.append, obs := batch(space)[1])
    copies = [x.copy() for x in arrays]
    packed = Packer(space)(mapped(kind, obs))  # a tensor that shares the array's memory, or the array itself
    before = packed.clone()
    assert all(np.array_equal(x, was) for x, was in zip(arrays, copies, strict=True))
    for x in arrays:
        x[...] = 1 - x  # the environment writes its next observation
    assert torch.equal(packed, before)


@pytest.mark.parametrize("flip", [np.s_[:, ::-1], np.s_[:, :, ::-1]], ids=["rows", "columns"])
def test_packing_reads_a_flipped_view(flip):
    images = np.arange(N * 60, dtype=np.uint8).reshape(N, 4, 5, 3)[flip]
    assert np.array_equal(Packer(IMAGE)(images), images)


def test_an_offset_that_float32_cannot_hold_is_still_taken_off():
    space = Tuple([Discrete(3, start=20_000_001), Box(-1, 1, (1,))])
    obs = np.array([20_000_001, 20_000_002, 20_000_003]), np.zeros((3, 1), np.float32)
    assert Packer(space)(obs)[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("space", "masked"),
    [
        (Discrete(3), False),
        (Dict(a=Discrete(3), b=MultiBinary(3)), False),
        (Dict(outer=Dict(action_mask=MultiBinary(3))), False),
        (Dict(OrderedDict(action_mask=MultiBinary(3), obs=Discrete(2))), True),
        (Dict(OrderedDict(board=Box(0, 1, (2, 2)), action_mask=MultiBinary(3), turn=Discrete(2))), True),
        (Dict(OrderedDict(obs=Discrete(9), action_mask=Tuple([MultiBinary(2), MultiBinary(4)]))), True),
        (Dict(OrderedDict(eye=IMAGE, speed=Box(-1, 1, (2,)), action_mask=MultiBinary(3))), True),
        (Dict(OrderedDict(eye=IMAGE, speed=Box(-1, 1, (2,)), action_mask=Box(0, 1, (3,)))), True),
    ],
    ids=[
        "no dict",
        "no mask",
        "nested elsewhere",
        "first",
        "in the middle",
        "one a part",
        "behind pixels",
        "of floats",
    ],
)
def test_the_mask_is_found_wherever_it_is_packed(space, masked):
    assert has_mask(space) == masked
    _, obs = batch(space, seed=1)
    mask = Packer(space).mask(Packer(space)(obs))
    assert (mask is not None) == masked
    if masked:
        parts = obs["action_mask"]
        assert np.array_equal(mask, np.concatenate(parts if isinstance(parts, tuple) else [parts], axis=1) > 0)


def test_an_image_anywhere_in_an_observation_is_found():
    assert has_image(Dict(a=Tuple([Discrete(2), Box(0, 255, (84, 84), np.uint8)])))
    assert not has_image(Dict(a=Tuple([Discrete(2), Box(0, 255, (21, 79), np.uint8)])))


@pytest.mark.parametrize(
    ("obs", "words"),
    [
        ({"a": np.zeros((2, 3)), "b": np.zeros(2, int)}, r"at 'a' have the shape \(2, 3\) .* the space needs \(N, 4\) and float32"),
        ({"a": np.zeros((2, 4)), "b": np.zeros(2)}, "at 'b' have the shape .* dtype float64, but the space needs .* int64"),
        ({"a": torch.zeros(2, 4), "b": torch.zeros(2)}, "at 'b' have the shape .* dtype torch.float32, but"),
        ({"a": np.zeros((2, 4))}, "lacks a part of Dict.*'b'"),
        (None, "of type NoneType lacks a part"),
        ({"a": 1.0, "b": np.zeros(2, int)}, r"at 'a' have the shape \(\)"),
    ],
)  # fmt: skip
def test_a_batch_of_another_structure_shape_or_dtype_is_refused_with_its_place(obs, words):
    with pytest.raises(UsageError, match=words):
        Packer(Dict(a=Box(-1, 1, (4,)), b=Discrete(3)))(obs)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Dict(a=Tuple([Discrete(2), Text(3)])), r"'a\.1' is Text"),
        (Text(3), "observation space is Text"),
        (Dict(a=Box(0, 1, (0, 2))), "'a' is empty"),
        (Dict(), "observation space is empty: Dict\\(\\); give it a part"),
    ],
)
def test_an_unsupported_observation_is_a_usage_error_that_names_the_part(space, message):
    with pytest.raises(UsageError, match=message):
        check_space(space, "observation")


def test_a_number_beyond_float32_is_packed_as_infinite_without_a_warning():
    assert Packer(Box(-np.inf, np.inf, (1,), np.float64))(np.array([[1e300]])).tolist() == [[np.inf]]
