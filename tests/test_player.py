"""A player acts on one observation or on a batch, gives the probabilities of its choices, and names what does not fit."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from ppo import Config, Player, UsageError
from ppo.policies import build_policy


def player(obs_space, action_space, policy="mlp", **options):
    torch.manual_seed(0)
    options = {"normalize_obs": False, "hidden_sizes": (8,), "state_size": 8} | options
    return Player(
        build_policy(policy, obs_space, action_space, options), obs_space, action_space, Config(), {}, "runs/x", False
    )


@pytest.mark.parametrize("policy", ["mlp", "gru"])
@pytest.mark.parametrize(
    "obs_space",
    [Box(-1, 1, (4,)), Discrete(5, start=2), Dict(a=Box(-1, 1, (2, 2)), b=Tuple([Discrete(3), MultiBinary(2)]))],
    ids=["box", "discrete", "nested"],
)
def test_a_batch_gets_the_actions_and_states_of_its_observations(policy, obs_space):
    play = player(obs_space, MultiDiscrete([3, 4]), policy)
    obs_space.seed(0)
    n, states, state = 5, [None] * 5, None
    for step in range(3):
        singles = [obs_space.sample() for _ in range(n)]
        batch = batched(singles)
        starts = np.array([step == 0, step == 0, True, step == 0, step == 0])  # the third begins again at every step
        actions, state = play.act(batch, state, starts=starts)
        expected = [play.act(obs, None if starts[k] else states[k]) for k, obs in enumerate(singles)]
        assert actions.tolist() == [action.tolist() for action, _ in expected]
        states = [each for _, each in expected]
        np.testing.assert_allclose(state, torch.cat(states), atol=1e-6)


def batched(values):
    if isinstance(values[0], dict):
        return {key: batched([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(batched(list(column)) for column in zip(*values, strict=True))
    return np.stack(values)


def test_sampled_actions_have_the_probabilities():
    play, obs = player(Box(-1, 1, (4,)), Discrete(3), temperature=0.1), np.full(4, 0.5, np.float32)
    p = play.probabilities(obs)
    assert p.shape == (3,)
    assert p.sum() == pytest.approx(1)
    torch.manual_seed(1)
    actions = play.act(np.tile(obs, (20_000, 1)), deterministic=False)[0]
    assert np.bincount(actions, minlength=3) / 20_000 == pytest.approx(p, abs=0.015)
    assert play.act(obs)[0] == p.argmax()
    assert play.probabilities(np.tile(obs, (2, 1))) == pytest.approx(np.stack([p, p]))


def test_an_action_of_several_parts_has_a_list_of_probabilities():
    play = player(Discrete(2), Tuple([Discrete(3), MultiBinary(2)]))
    choice, bits = play.probabilities(1)
    assert (choice.shape, bits.shape) == ((3,), (2,))
    assert choice.sum() == pytest.approx(1)
    assert [int(x) for x in bits > 0.5] == play.act(1)[0][1].tolist()
    with pytest.raises(UsageError, match="has a Box, which has no probabilities"):
        player(Discrete(2), Box(-1, 1, (2,))).probabilities(1)


def test_masks_come_with_an_observation_or_with_a_batch():
    play = player(Dict([("obs", Box(-1, 1, (2,))), ("action_mask", MultiBinary(3))]), Discrete(3))
    obs = np.zeros((2, 2), np.float32)
    assert play.act(obs[0], mask=np.array([0, 1, 0]))[0] == 1
    assert play.act(obs, mask=np.array([[0, 1, 0], [0, 0, 1]]))[0].tolist() == [1, 2]
    assert play.probabilities(obs[0], mask=np.array([0, 1, 0])).tolist() == [0, 1, 0]
    with pytest.raises(UsageError, match=r"trained with action masks; give mask=info\['action_mask'\]"):
        play.act(obs)
    with pytest.raises(UsageError, match="takes no mask besides the observation"):
        player(Box(-1, 1, (2,)), Discrete(3)).act(obs, mask=np.ones(3))


def test_pixels_that_are_fractions_are_refused_since_they_would_be_black():
    painted = player(Box(0, 255, (4, 4, 3), np.uint8), Discrete(3))
    for wrong in (np.full((4, 4, 3), 0.99), np.full((4, 4, 3), -1)):
        with pytest.raises(UsageError, match=f"has the dtype {wrong.dtype}, and Box.* needs uint8"):
            painted.act(wrong)
    painted.act(np.ones((4, 4, 3), bool))


@pytest.mark.parametrize(
    ("obs", "more", "sentence"),
    [
        (np.zeros(3), {}, r"an observation of shape \(3,\) is neither one of Box.* nor a batch"),
        (np.zeros((2, 2, 4)), {}, r"an observation of shape \(2, 2, 4\) is neither one"),
        ("left", {}, "the observation has the dtype <U4, and Box.* needs float32; give it as the environment does"),
        (np.zeros((3, 4)), {"state": torch.zeros(2, 0)}, "there are 3 observations, but 2 states and 3 starts"),
        (np.zeros((3, 4)), {"starts": [True]}, "there are 3 observations, but 3 states and 1 starts"),
    ],
)
def test_an_observation_that_does_not_fit_is_one_sentence(obs, more, sentence):
    with pytest.raises(UsageError, match=sentence):
        player(Box(-1, 1, (4,)), Discrete(2)).act(obs, **more)
