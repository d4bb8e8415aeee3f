"""Rows under way: half-rows become columns, and choices that a space does not have are named with environment and step."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from ppo.envs.spaces import Packer
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.halves import Outcome, check_choices, check_numbers, columns_of


def test_half_rows_become_columns_by_name():
    no = np.zeros(2, bool)
    halves = [Outcome(np.array([t, 2.0]), no, ~no, no, torch.ones(2, 0)) for t in range(3)]
    columns = columns_of(halves)
    assert columns["rewards"].tolist() == [[0, 2], [1, 2], [2, 2]]
    assert columns["metrics"].shape == (3, 2, 0)
    assert columns_of([]) == {}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (
            "obs",
            "the observation of environment 1 at step 12 since the environments were reset is 7, which is not in Discrete(5, start=2)",
        ),
        (
            "next_obs",
            "the observation of environment 0 at step 13 since the environments were reset is 1, which is not in Discrete(5, start=2)",
        ),
        (
            "final_obs",
            "the observation of environment 1 at step 11 since the environments were reset is 7, which is not in Discrete(5, start=2)",
        ),
    ],
)
def test_the_earliest_choice_that_the_space_does_not_have_is_named(where, words):
    obs, next_obs, final = torch.zeros(3, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), torch.tensor([4, 0])
    if where == "obs":
        obs[2, 1] = 5
    if where == "next_obs":
        next_obs[0] = -1
    if where == "final_obs":
        final[1] = 5
    cuts = [(np.array([2, 3]), final, torch.zeros(2, 0))]
    with pytest.raises(UsageError) as caught:
        check_choices(Packer(Discrete(5, start=2)), obs, next_obs, cuts, 10)
    assert str(caught.value) == words


def test_a_bit_that_is_neither_0_nor_1_is_named():
    packer = Packer(MultiBinary(2))
    obs = packer(np.array([[0, 1], [2, -1]], np.int8))[None]
    with pytest.raises(UsageError, match=r"environment 1 at step 3 .* is \[2, -1\], which is not in MultiBinary"):
        check_choices(packer, obs, obs[0], [], 3)


def test_the_part_of_a_nested_observation_is_named():
    packer = Packer(Dict(a=Box(-9, 9, (1,)), b=MultiDiscrete([[2, 3]])))
    obs = torch.tensor([[[9.5, 1.0, 2.0]], [[9.5, 2.0, 0.0]]])
    check_choices(packer, obs[:1], obs[0], [], 0)
    with pytest.raises(
        UsageError,
        match=r"environment 0 at step 1 since the environments were reset is \[\[2, 0\]\] at 'b', which is not in MultiDiscrete",
    ):
        check_choices(packer, obs, obs[0], [], 0)


def test_numbers_among_pixels_are_checked_too():
    packer = Packer(Dict(eye=Box(0, 255, (5, 5, 3), np.uint8), speed=Box(-9, 9, (2,)), turn=Discrete(3)))
    eyes, turns = np.full((2, 5, 5, 3), 255, np.uint8), np.array([0, 2])
    fine, broken = (
        packer({"eye": eyes, "speed": np.float32(x), "turn": turns}) for x in ([[1, 2]] * 2, [[1, 2], [3, np.nan]])
    )
    check_numbers(packer, {"obs": torch.stack([fine, fine])}, 2, 0)
    with pytest.raises(NonFiniteError, match=r"^an observation of environment 1 at step 7 .* is nan in entry \[1\]"):
        check_numbers(packer, {"obs": torch.stack([fine, broken])}, 2, 6)
    check_choices(packer, torch.stack([fine, fine]), fine, [], 0)
    wrong = packer({"eye": eyes, "speed": np.zeros((2, 2), np.float32), "turn": np.array([3, 0])})
    with pytest.raises(UsageError, match=r"environment 0 at step 1 .* is 3 at 'turn', which is not in Discrete\(3\)"):
        check_choices(packer, torch.stack([fine, wrong]), fine, [], 0)
