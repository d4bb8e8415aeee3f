"""Heads: whatever the action space, samples lie in it, log-probabilities add, and masked choices are never taken."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
from gymnasium.vector.utils import iterate
from gymnasium.vector.utils.space_utils import batch_space
from torch import distributions as td
from torch import tensor

from ppo.errors import UsageError
from ppo.policies import Head

pytestmark = pytest.mark.filterwarnings("ignore:.*Casting input x to numpy array")  # a row of a Box of rank 0
N = 64
UNEVEN = Box(np.array([-2.0, 0.0, -0.5], np.float32), np.array([1.0, 10.0, 0.5], np.float32))
ROBOT = Dict(
    arm=Box(-1, 1, (2, 2)),
    grip=Discrete(3, start=5),
    legs=Tuple([MultiDiscrete([2, 4]), MultiBinary(3), Box(-2, 0, ())]),
)
SPACES = {
    "discrete": Discrete(4),
    "discrete from 3": Discrete(4, start=3),
    "discrete from -1": Discrete(2, start=-1),
    "multidiscrete": MultiDiscrete([2, 5, 3]),
    "multidiscrete from 1": MultiDiscrete([2, 5], start=[1, -3]),
    "multidiscrete 2-D": MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
    "multidiscrete int32": MultiDiscrete([2, 5], dtype=np.int32),
    "multibinary": MultiBinary(5),
    "multibinary 2-D": MultiBinary([2, 3]),
    "box": UNEVEN,
    "box 2-D": Box(-1, 1, (2, 3)),
    "box rank 0": Box(-1, 1, ()),
    "box float64": Box(-0.1, 0.1, (3,), np.float64),
    "dict": ROBOT,
    "tuple": Tuple([Discrete(2, start=1), Box(-0.5, 0.25, (3,))]),
    # one choice in all, which is still packed as a vector
    "multidiscrete of one": MultiDiscrete([3]),
    "tuple of one": Tuple([Discrete(3, start=1)]),
    "dict of one": Dict(only=Discrete(3)),
    "dict of one box": Dict(only=Box(-1, 1, (2,))),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def unflattened(space: gymnasium.Space) -> int:
    """Count the columns of a packed action of a composite or vector space."""
    if isinstance(space, Dict | Tuple):
        return sum(unflattened(part) for part in (space.values() if isinstance(space, Dict) else space))
    return 1 if isinstance(space, Discrete) else int(np.prod(space.shape))


@pytest.mark.parametrize("bound", ["clip", "tanh"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@torch.no_grad()
def test_every_sample_and_mode_lies_in_the_space(space, bound):
    head = Head(space, action_bound=bound, log_std_init=1.0)  # wide, so that many numbers fall out of bounds
    dist = head(3 * torch.randn(2, N, head.num_outputs))
    packed = () if isinstance(space, Discrete) else (unflattened(space),)
    for noise in (head.noise(2, N), head.noise(2, N, deterministic=True)):
        actions = dist.sample(noise)
        assert actions.shape == (2, N, *packed)
        rows = list(iterate(batch_space(space, N), head.to_env(actions[0])))
        assert len(rows) == N
        assert all(space.contains(row) for row in rows)
    assert dist.log_prob(actions).shape == dist.entropy().shape == (2, N)


@pytest.mark.parametrize("bound", ["clip", "tanh"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@torch.no_grad()
def test_an_action_of_the_environment_is_packed_as_the_action_that_it_came_from(space, bound):
    head = Head(space, action_bound=bound, log_std_init=-1.0)
    actions = head(torch.randn(N, head.num_outputs)).sample(head.noise(N)).clamp(-1e9, 1e9)
    taken = head.leaves_to_env(actions.numpy())
    packed = head.from_env(taken)
    assert packed.shape == actions.shape
    for again, once in zip(head.leaves_to_env(packed.numpy()), taken, strict=True):
        assert again.dtype == once.dtype
        np.testing.assert_allclose(again, once, rtol=1e-5, atol=0.01 if bound == "tanh" else 1e-6)
    inside = (actions.double().abs() <= (3 if bound == "tanh" else 1)) | (actions == actions.round())
    torch.testing.assert_close(packed[inside].double(), actions[inside].double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@torch.no_grad()
def test_the_head_reaches_every_choice_of_the_space(space):
    head = Head(space, log_std_init=2.0)
    drawn = head(torch.zeros(500, head.num_outputs)).sample(head.noise(500))
    rows = list(iterate(batch_space(space, 500), head.to_env(drawn)))

    def check(space, rows):
        if isinstance(space, Dict | Tuple):
            for key in space if isinstance(space, Dict) else range(len(space)):
                check(space[key], [row[key] for row in rows])
            return
        actual = np.stack(rows)
        low, high = actual.min(0), actual.max(0)
        if isinstance(space, Box):  # clipped on both sides
            np.testing.assert_allclose((low, high), (space.low, space.high), rtol=1e-6)
        elif isinstance(space, MultiBinary):
            assert (low == 0).all()
            assert (high == 1).all()
        else:
            assert (low == space.start).all()
            assert (high == space.start + (space.n if isinstance(space, Discrete) else space.nvec) - 1).all()

    check(space, rows)


def test_to_env_gives_each_number_its_place_offset_and_type():
    head = Head(ROBOT)
    # arm (4 numbers, clipped), grip (index), legs: two indices, three bits, one number
    packed = tensor([[0.5, -3.0, 7.0, 0.25, 2.0, 1.0, 3.0, 1.0, 0.0, 1.0, -5.0]])
    actions = head.to_env(packed)
    assert list(actions) == ["arm", "grip", "legs"]
    assert actions["arm"].tolist() == [[[0.5, -1.0], [1.0, 0.25]]]
    assert actions["grip"].tolist() == [7]
    pair, bits, number = actions["legs"]
    assert pair.tolist() == [[1, 3]]
    assert bits.tolist() == [[1, 0, 1]]
    assert number.tolist() == [-2.0]
    assert [x.dtype for x in (actions["arm"], actions["grip"], pair, bits)] == [np.float32, np.int64, np.int64, np.int8]


def test_to_env_of_tanh_is_the_squashed_number():
    # Bounds −2…1, 0…10, −0.5…0.5; tanh 0 = 0 is the middle, tanh 0.5 = 0.46212, tanh ∓20 = ∓1 are the bounds.
    actual = Head(UNEVEN, action_bound="tanh").to_env(tensor([[0.0, 0.5, 0.0], [-20.0, 20.0, 0.5]]))
    np.testing.assert_allclose(actual, [[-0.5, 7.310586, 0.0], [-2.0, 10.0, 0.2310586]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bound", ["clip", "tanh"])
def test_log_probs_and_entropies_of_the_parts_add(bound):
    space = Dict(a=Discrete(3), b=Box(-1, 1, (2,)), c=MultiBinary(2), d=MultiDiscrete([2, 3]))
    head = Head(space, action_bound=bound, log_std_init=-0.5)
    outputs = torch.randn(5, 4, 12)
    dist = head(outputs)
    actions = dist.sample(head.noise(5, 4))
    a, b, c, d, e = outputs.split([3, 2, 2, 2, 3], dim=-1)
    normal = td.Normal(b, tensor(-0.5).exp())
    numbers = td.TransformedDistribution(normal, [td.TanhTransform()]) if bound == "tanh" else normal
    taken = actions[..., 1:3].tanh() if bound == "tanh" else actions[..., 1:3]
    expected = (
        td.Categorical(logits=a).log_prob(actions[..., 0])
        + numbers.log_prob(taken).sum(-1)
        + td.Bernoulli(logits=c).log_prob(actions[..., 3:5]).sum(-1)
        + td.Categorical(logits=d).log_prob(actions[..., 5])
        + td.Categorical(logits=e).log_prob(actions[..., 6])
    )
    torch.testing.assert_close(dist.log_prob(actions), expected, rtol=1e-4, atol=1e-4)
    if bound == "clip":
        parts = [td.Categorical(logits=x).entropy() for x in (a, d, e)]
        parts += [x.entropy().sum(-1) for x in (normal, td.Bernoulli(logits=c))]
        torch.testing.assert_close(dist.entropy(), sum(parts))


def test_each_box_of_a_composite_has_its_own_deviations_and_bounds():
    head = Head(Tuple([Box(-1, 1, (1,)), Discrete(2), Box(0, 8, (2,))]), action_bound="tanh")
    with torch.no_grad():
        head.log_std.copy_(tensor([-1.0, 0.0, 1.0]))
    dist, u = head(torch.zeros(1, 5)), tensor([[0.3, 1.0, -0.4, 0.9]])
    # The change of variables with the ranges 2, 8 and 8; a choice between two equals costs log 2.
    normal = td.Normal(torch.zeros(3), tensor([-1.0, 0.0, 1.0]).exp())
    numbers, half = u[0, [0, 2, 3]], tensor([1.0, 4.0, 4.0])
    expected = (normal.log_prob(numbers) - (half * (1 - numbers.tanh() ** 2)).log()).sum() - tensor(2.0).log()
    torch.testing.assert_close(dist.log_prob(u)[0], expected)
    np.testing.assert_allclose(head.to_env(u)[2], [[4 * (1 - np.tanh(0.4)), 4 * (1 + np.tanh(0.9))]], rtol=1e-5)


def test_the_first_noise_has_size_1_however_many_numbers_share_it():
    mixed = Dict({"a": Box(0, 9, (3,)), "b": Discrete(5), "c": Box(-1, 1, (6,))})
    for space in (Box(-3, 3, (1,)), Box(-1, 1, (4, 2)), mixed):
        deviations = Head(space).log_std.exp()
        assert deviations.square().sum().item() == pytest.approx(1.0)
        assert (deviations == deviations[0]).all()
    assert Head(Discrete(3)).log_std is None


@pytest.mark.parametrize(("raw", "clamped"), [(-50.0, -10.0), (50.0, 2.0)])
def test_deviations_are_clamped_to_a_range_that_float32_resolves(raw, clamped):
    head = Head(Box(-1, 1, (1,)), log_std_init=raw)
    assert head(torch.zeros(1, 1)).entropy().item() == pytest.approx(1.4189385 + clamped)  # ½ log 2πe + log σ


@pytest.mark.parametrize(("raw", "sign"), [(50.0, 1), (-50.0, -1)])
def test_a_deviation_beyond_its_range_can_only_come_back(raw, sign):
    head = Head(Box(-1, 1, (1,)), log_std_init=raw)
    for direction, expected in ((sign, 0.0), (-sign, -sign)):  # a step against the gradient leads farther out, or back
        (gradient,) = torch.autograd.grad(-direction * head(torch.zeros(1, 1)).entropy().sum(), head.log_std)
        assert gradient.item() == -expected


def test_noise_is_drawn_for_each_part_as_its_distribution_wants_it():
    head = Head(Tuple([Discrete(2), MultiBinary(1), Box(-1, 1, (1,))]))
    noise = head.noise(50, 400)
    assert noise.shape == (50, 400, 4)
    flat = noise.flatten(0, 1)
    # Exponential of rate 1 for the choices, uniform from 0 to 1 for the bit, normal for the number.
    assert flat.mean(0).tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0], abs=0.05)
    assert flat.std(0).tolist() == pytest.approx([1.0, 1.0, 12**-0.5, 1.0], abs=0.05)
    assert flat[:, :3].min() >= 0
    assert flat[:, 2].max() <= 1
    torch.testing.assert_close(flat.T.corrcoef(), torch.eye(4), atol=0.05, rtol=0)


def test_the_noise_of_a_whole_rollout_is_that_of_its_steps_independently():
    noise = Head(Box(-1, 1, (1,))).noise(20_000, 2)[..., 0].T  # (N, T)
    assert torch.stack([noise[0], noise[1], noise[0].roll(1)]).corrcoef().triu(1).abs().max() < 0.05


def test_deterministic_noise_is_the_same_at_every_step():
    head = Head(ROBOT)
    noise = head.noise(3, 2, deterministic=True)
    assert noise.shape == (3, 2, 17)
    assert torch.equal(noise, noise[:1, :1].expand_as(noise))


MASKS = {
    "discrete": (Discrete(4, start=2), [[1, 0, 1, 0]], [[{2, 4}]]),
    "multidiscrete": (MultiDiscrete([3, 2], start=[0, 5]), [[0, 1, 1, 1, 0]], [[{1, 2}, {5}]]),
    "none allowed": (Discrete(3), [[0, 0, 0]], [[{0, 1, 2}]]),
    "none allowed in a part": (MultiDiscrete([2, 3]), [[0, 0, 0, 1, 0]], [[{0, 1}, {1}]]),
    "row by row": (Discrete(3), [[1, 0, 0], [0, 1, 1]], [[{0}], [{1, 2}]]),
}


@pytest.mark.parametrize(("space", "mask", "allowed"), MASKS.values(), ids=MASKS)
def test_masked_choices_are_never_taken(space, mask, allowed):
    head, mask = Head(space, mask_size=len(mask[0])), tensor(mask) > 0
    outputs = (
        (mask.float() * -5).expand(400, *mask.shape).clone().requires_grad_()
    )  # the network favours what is masked
    dist = head(outputs, mask.expand_as(outputs))
    sampled, most_probable = (dist.sample(head.noise(400, len(mask), deterministic=sure)) for sure in (False, True))
    drawn, best = ([head.to_env(x) for x in draws] for draws in (sampled, most_probable))
    for row, choices in enumerate(allowed):
        for part, expected in enumerate(choices):
            actual = {int(np.reshape(step[row], -1)[part]) for step in drawn}
            assert actual == expected
            assert {int(np.reshape(step[row], -1)[part]) for step in best} <= expected
    log_prob, entropy = dist.log_prob(sampled), dist.entropy()
    (log_prob + entropy).sum().backward()
    assert all(torch.isfinite(x).all() for x in (log_prob, entropy, outputs.grad))


def test_entropy_under_a_mask_is_that_of_the_allowed_choices():
    dist = Head(Discrete(4), mask_size=4)(torch.zeros(1, 4), tensor([[True, False, True, True]]))
    assert dist.entropy().item() == pytest.approx(1.0986123)  # log 3
    assert dist.log_prob(tensor([2])).item() == pytest.approx(-1.0986123)


def test_a_part_with_nothing_allowed_keeps_the_networks_own_probabilities():
    outputs = torch.randn(1, 5)
    dist = Head(MultiDiscrete([2, 3]), mask_size=5)(outputs, tensor([[False, False, False, True, False]]))
    expected = outputs[:, :2].log_softmax(-1)  # of the first part; the second has one choice, of probability 1
    actual = torch.cat([dist.log_prob(tensor([[choice, 1]])) for choice in range(2)])
    torch.testing.assert_close(actual, expected[0])


@pytest.mark.parametrize(
    ("space", "size", "choices"),
    [(Discrete(4), 3, "4"), (MultiDiscrete([2, 3]), 6, "5"), (Box(-1, 1, (2,)), 2, "no"), (ROBOT, 3, "no")],
)
def test_a_mask_that_does_not_fit_is_a_usage_error_with_both_sizes(space, size, choices):
    with pytest.raises(UsageError, match=rf"action_mask has {size} entries .* has {choices} choices"):
        Head(space, mask_size=size)


node = Box(-1, 1, (2,))
REFUSED = {
    "text": (Dict(say=Text(5)), "clip", r"'say' is Text"),
    "graph": (Tuple([Discrete(2), Graph(node, None)]), "clip", r"'1' is Graph"),
    "sequence": (Sequence(node), "clip", r"action space is Sequence"),
    "integers": (Dict(a=Dict(b=Box(0, 5, (2,), np.int32))), "clip", r"'a\.b' is a Box of int32"),
    "unbounded": (Dict(arm=Box(-np.inf, np.inf, (2,))), "tanh", r"'arm' has no finite range"),
    "half bounded": (Box(0, np.inf, (2,)), "tanh", r"action space has no finite range"),
    "empty": (Dict(arm=Box(-1, 1, (0,))), "clip", r"'arm' is empty"),
}


@pytest.mark.parametrize(("space", "bound", "message"), REFUSED.values(), ids=REFUSED)
def test_an_unsupported_space_is_a_usage_error_that_names_the_part(space, bound, message):
    with pytest.raises(UsageError, match=message):
        Head(space, action_bound=bound)


FLOAT_MAX = np.finfo(np.float32).max


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (-np.inf, 2e6), (-FLOAT_MAX, FLOAT_MAX)])
def test_numbers_without_a_range_pass_through_when_clipped(low, high):
    actual = Head(Box(low, high, (2,))).to_env(tensor([[1e6, -1e6]]))
    assert actual.tolist() == [[1e6, -1e6]]


def test_bounded_numbers_are_in_units_of_half_their_range():
    # Bounds −2…1, 0…10, −0.5…0.5: the middles are −0.5, 5 and 0, the halves 1.5, 5 and 0.5.
    actual = Head(UNEVEN).to_env(tensor([[0.0, 0.0, 0.0], [-1.0, 1.0, 0.5], [-7.0, 0.2, 7.0]]))
    np.testing.assert_allclose(actual, [[-0.5, 5.0, 0.0], [-2.0, 10.0, 0.25], [-2.0, 6.0, 0.5]], rtol=1e-6)


def test_a_number_that_has_one_value_keeps_it():
    space = Box(np.array([1.0, -1.0]), np.array([1.0, 1.0]), dtype=np.float64)
    assert Head(space).to_env(tensor([[0.3, 0.3]]))[0] == pytest.approx([1.0, 0.3])


def test_clipped_fraction_counts_the_box_numbers_out_of_bounds():
    head = Head(Tuple([Discrete(9), Box(-1, 1, (2,)), MultiBinary(1), Box(0, 3, ())]))
    # index 8 and bit 1 do not count; out of bounds, which are −1 and 1, are 2, −3 and 1.5 of six numbers
    actions = tensor([[8.0, 0.0, 2.0, 1.0, 0.7], [8.0, -3.0, 0.5, 1.0, 1.5]])
    assert head.clipped_fraction(actions).item() == pytest.approx(0.5)
    assert Head(Box(-1, 1, (2,))).clipped_fraction(tensor([[1.0, -1.0]])).item() == 0.0


@pytest.mark.parametrize(("space", "bound"), [(Discrete(3), "clip"), (MultiBinary(2), "clip"), (node, "tanh")])
def test_clipped_fraction_is_none_where_nothing_is_clipped(space, bound):
    assert Head(space, action_bound=bound).clipped_fraction(torch.zeros(3, 2)) is None


LOGITS = tensor([[2.0, 1.0, 0.0, -1.0]])


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, [0, 1, 2, 3]),
        ({"top_k": 2}, [0, 1]),
        ({"top_k": 9}, [0, 1, 2, 3]),
        ({"top_p": 0.6}, [0]),  # the first alone has 0.64
        ({"top_p": 0.65}, [0, 1]),
        ({"top_p": 1e-6}, [0]),
        ({"top_k": 3, "top_p": 0.7}, [0, 1]),  # of the three, the first has 0.665
        ({"temperature": 10.0, "top_p": 0.6}, [0, 1, 2]),
    ],
)
def test_temperature_top_k_and_top_p_are_part_of_the_distribution(options, allowed):
    dist = Head(Discrete(4), **options)(LOGITS.expand(len(allowed), 4))
    expected = torch.full((1, 4), -torch.inf)
    expected[0, allowed] = (LOGITS / options.get("temperature", 1.0))[0, allowed].log_softmax(0)
    drawn = dist.log_prob(tensor(allowed))
    torch.testing.assert_close(drawn, expected[0, allowed])
    assert dist.entropy()[0].item() == pytest.approx(
        -float((expected[0, allowed].exp() * expected[0, allowed]).sum()), abs=1e-6
    )
    torch.manual_seed(0)
    head = Head(Discrete(4), **options)
    actions = head(LOGITS.expand(2000, 4)).sample(head.noise(2000))
    assert sorted(set(actions.tolist())) == allowed


def test_an_action_outside_top_k_has_the_probability_it_would_have_if_added_back():
    dist = Head(Discrete(4), top_k=2)(LOGITS)
    actual = dist.log_prob(tensor([3])).exp().item()
    assert actual == pytest.approx(float(torch.exp(tensor(-1.0)) / torch.exp(tensor([2.0, 1.0, -1.0])).sum()))


def test_masked_choices_are_not_among_the_most_probable():
    dist = Head(Discrete(4), 4, top_k=3)(LOGITS, tensor([[False, True, False, True]]))
    torch.testing.assert_close(dist.log_probs[0, [1, 3]].exp(), tensor([1.0, -1.0]).softmax(0))


def test_each_choice_of_several_is_shaped_by_itself():
    dist = Head(MultiDiscrete([2, 3]), top_k=1)(tensor([[0.0, 1.0, 5.0, 6.0, 7.0]]))
    assert dist.log_prob(tensor([[1, 2]])).item() == pytest.approx(0)
    assert dist.entropy().item() == pytest.approx(0)
