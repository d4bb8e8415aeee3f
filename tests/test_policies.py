"""Every policy keeps the contract: a sequence in one call is its steps one by one, whatever starts within it."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ppo.envs.spaces import Packer, one_line
from ppo.envs.text_env import TextEnv
from ppo.errors import UsageError
from ppo.loop.rollout import Batch, Cuts, Rollout
from ppo.machine.operations import lookup
from ppo.policies import Features, Policy, build_policy, resolve_policy
from ppo.policies.features import is_image
from ppo.policies.gru import GRUPolicy
from ppo.policies.mlp import MLPPolicy
from ppo.policies.recurrence import Recurrence
from ppo.policies.transformer import TransformerPolicy

T, N = 6, 3
SMALL = {"hidden_sizes": (16,), "state_size": 5}
IMAGE = Box(0, 255, (36, 36, 3), np.uint8)
MIXED = Dict(place=Discrete(4, start=1), speed=Box(-1, 1, (2,)), more=Tuple([MultiDiscrete([2, 3]), MultiBinary(2)]))
MASKED = Dict(obs=Box(-1, 1, (3,)), action_mask=MultiBinary(4))
CASES = {
    "mlp": ("mlp", Box(-1, 1, (3,)), Discrete(4), {}),
    "mlp on an index": ("mlp", Discrete(7), MultiDiscrete([2, 3]), {}),
    "mlp on a dict": ("mlp", MIXED, Dict(a=Discrete(3), b=Box(-1, 1, (2,))), {"normalize_obs": True}),
    "mlp on pixels": ("mlp", Box(0, 255, (4, 4, 1), np.uint8), Box(-1, 1, (2,)), {"action_bound": "tanh"}),
    "mlp under a mask": ("mlp", MASKED, Discrete(4), {}),
    "cnn": ("cnn", IMAGE, Discrete(4), {}),
    "cnn on a dict": ("cnn", Dict(eye=IMAGE, speed=Box(-1, 1, (2,))), Box(-1, 1, (2,)), {"normalize_obs": True}),
    "gru": ("gru", Box(-1, 1, (3,)), Discrete(4), {"normalize_obs": True}),
    "gru on a dict": ("gru", MIXED, Tuple([MultiBinary(2), Box(-1, 1, ())]), {"action_bound": "tanh"}),
    "gru under a mask": ("gru", MASKED, Discrete(4), {}),
    "gru on an image": ("gru", IMAGE, MultiDiscrete([2, 3]), {}),
    "gru of two layers, the critic apart": ("gru", Discrete(5), Discrete(5), {"num_layers": 2, "separate_critic": True}),
    "gru at a temperature": ("gru", Discrete(5), Discrete(5), {"temperature": 0.7, "top_k": 4, "top_p": 0.9}),
    "transformer": ("transformer", Discrete(5), Discrete(5), {}),
    "transformer under a mask": ("transformer", MASKED, Discrete(4), {"context": 2}),
    "transformer of two layers": (
        "transformer", Box(-1, 1, (3,)), Box(-1, 1, (2,)),
        {"num_layers": 2, "context": 3, "hidden_sizes": (32,), "separate_critic": True},
    ),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on networks this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


def random_obs(space: gymnasium.Space, steps: int, envs: int) -> torch.Tensor:
    """Return packed observations (T, N, *obs) sampled from a space."""
    space.seed(0)
    samples = [space.sample() for _ in range(steps * envs)]
    packed = Packer(space)(concatenate(space, samples, create_empty_array(space, len(samples))))
    return packed.unflatten(0, (steps, envs))


def make(case, steps: int = T, envs: int = N):
    """Return a policy whose actor has learnt something, with observations, states and starts to run it on."""
    name, obs_space, action_space, options = case
    torch.manual_seed(0)
    policy = build_policy(name, obs_space, action_space, SMALL | options)
    policy.actor.apply(lambda m: nn.init.normal_(m.weight, 0, 0.5) if isinstance(m, nn.Linear) else None)
    obs, starts = random_obs(obs_space, steps, envs), torch.rand(steps, envs) < 0.3
    policy.update_statistics(obs, torch.ones(steps, envs, dtype=torch.bool))
    with torch.no_grad():  # a state as it is within episodes
        state = policy(
            random_obs(obs_space, 4, envs), policy.initial_state(envs), torch.zeros(4, envs, dtype=torch.bool)
        )[2]
    return policy, obs, state, starts


def one_by_one(policy, obs, state, starts):
    """Call a policy once a step -> the distributions, values (T, N), states before each step and after the last."""
    dists, values, states = [], [], [state]
    for t in range(len(obs)):
        dist, value, state = policy(obs[t : t + 1], states[-1], starts[t : t + 1])
        dists.append(dist)
        values.append(value)
        states.append(state)
    return dists, torch.cat(values), torch.stack(states)


@every_case
@pytest.mark.parametrize("steps", [1, T])
def test_results_have_the_shapes_of_the_contract(case, steps):
    policy, obs, state, starts = make(case, steps)
    dist, values, after = policy(obs, state, starts)
    width = policy.state_size
    assert (width == 0) == (case[0] in ("mlp", "cnn"))
    assert policy.initial_state(N).shape == state.shape == after.shape == (N, width)
    assert (policy.initial_state(N) == 0).all()
    assert values.shape == (steps, N)
    for deterministic in (False, True):
        actions = dist.sample(policy.head.noise(steps, N, deterministic=deterministic))
        assert actions.shape[:2] == (steps, N)
    assert dist.log_prob(actions).shape == dist.entropy().shape == (steps, N)


@every_case
@torch.no_grad()
def test_a_sequence_in_one_call_is_its_steps_one_by_one(case):
    policy, obs, state, starts = make(case)
    assert starts[1:].any()
    dist, values, after = policy(obs, state, starts)
    dists, expected_values, states = one_by_one(policy, obs, state, starts)
    actions = dist.sample(policy.head.noise(T, N))
    expected = torch.cat([step.log_prob(actions[t : t + 1]) for t, step in enumerate(dists)])
    torch.testing.assert_close(dist.log_prob(actions), expected)
    torch.testing.assert_close(dist.entropy(), torch.cat([step.entropy() for step in dists]))
    sure = policy.head.noise(T, N, deterministic=True)
    torch.testing.assert_close(dist.sample(sure), torch.cat([step.sample(sure[:1]) for step in dists]))
    torch.testing.assert_close(values, expected_values)
    torch.testing.assert_close(after, states[-1])


@every_case
@pytest.mark.parametrize("length", [1, 2, 3, T])
@torch.no_grad()
def test_ratio_is_one_before_the_first_step(case, length):
    policy, obs, state, starts = make(case)
    dists, values, states = one_by_one(policy, obs, state, starts)
    draws = [dist.sample(policy.head.noise(1, N)) for dist in dists]
    log_probs = torch.cat([dist.log_prob(draw) for dist, draw in zip(dists, draws, strict=True)])
    no = torch.zeros(T, N, dtype=torch.bool)
    rollout = Rollout(
        obs=obs, states=states[:-1], starts=starts, valid=~no, actions=torch.cat(draws), log_probs=log_probs,
        rewards=values, terminated=no, truncated=no, values=values, next_values=values, next_valid=~no[0],
        cuts=Cuts(torch.arange(0), obs[0, :0], state[:0]),
    )  # fmt: skip
    batch = Batch.from_rollout(rollout, values, values, values, length).select(torch.randperm(T // length * N))
    dist, found, _ = policy(batch.obs, batch.states, batch.starts)
    ratio = (dist.log_prob(batch.actions) - batch.log_probs).exp()
    torch.testing.assert_close(ratio, torch.ones(length, batch.num_sequences))
    torch.testing.assert_close(found, batch.values)


@every_case
@torch.no_grad()
def test_rows_of_a_batch_do_not_influence_each_other(case):
    policy, obs, state, starts = make(case)
    dist, values, after = policy(obs, state, starts)
    actions = dist.sample(policy.head.noise(T, N))
    for n in range(N):
        one = slice(n, n + 1)
        alone, value, last = policy(obs[:, one], state[one], starts[:, one])
        torch.testing.assert_close(value, values[:, one])
        torch.testing.assert_close(last, after[one])
        torch.testing.assert_close(alone.log_prob(actions[:, one]), dist.log_prob(actions)[:, one])


@every_case
def test_every_parameter_that_acts_gets_a_gradient(case):
    policy, obs, state, starts = make(case)
    dist, values, _ = policy(obs, state, starts)
    (dist.log_prob(dist.sample(policy.head.noise(T, N)).detach()) + values).sum().backward()
    without = [name for name, x in policy.named_parameters() if x.grad is None or not x.grad.isfinite().all()]
    assert not without
    assert all((x.grad != 0).any() for name, x in policy.named_parameters() if "weight" in name)


@pytest.mark.parametrize("name", ["mlp", "gru", "cnn"])
def test_a_mask_in_the_observation_reaches_the_distribution(name):
    space = Dict(action_mask=MultiBinary(4), obs=IMAGE if name == "cnn" else Box(-1, 1, (3,)))
    policy, obs, state, starts = make((name, space, Discrete(4), {}))
    obs[..., :4] = torch.tensor([0, 1, 0, 1])
    probs = policy(obs, state, starts)[0].log_probs.exp()
    assert (probs[..., [0, 2]] == 0).all()
    assert (probs[..., [1, 3]] > 0).all()


def test_a_gru_remembers_within_an_episode_and_forgets_at_its_start():
    policy, obs, state, _ = make(CASES["gru"], steps=3)
    never = torch.zeros(3, N, dtype=torch.bool)
    again = never.clone()
    again[2] = True
    changed = obs.clone()
    changed[1] += 0.5
    last = [
        policy(x, state, starts)[1][2] for x, starts in ((obs, never), (changed, never), (obs, again), (changed, again))
    ]
    assert (last[0] - last[1]).abs().min() > 1e-6
    torch.testing.assert_close(last[2], last[3], rtol=0, atol=0)


def reference_gru(cell: nn.GRUCell, x, state, starts):
    outputs = []
    for step, start in zip(x, starts, strict=True):
        state = cell(step, torch.where(start.unsqueeze(-1), torch.zeros_like(state), state))
        outputs.append(state)
    return torch.stack(outputs), state


def recurrence(cell: nn.GRUCell, x, state, starts):
    inputs, keep = functional.linear(x, cell.weight_ih, cell.bias_ih), (~starts).to(x.dtype).unsqueeze(-1)
    outputs = Recurrence.apply(inputs, keep, state, cell.weight_hh, cell.bias_hh)
    return outputs, outputs[-1]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.7, 1.0]), st.integers(0, 10_000))
def test_the_recurrence_gives_the_outputs_and_gradients_of_a_loop_with_resets(steps, envs, share, seed):
    torch.manual_seed(seed)
    cell = nn.GRUCell(3, 4).double()
    x, state = torch.randn(steps, envs, 3).double(), torch.randn(envs, 4).double()
    starts, weights = torch.rand(steps, envs) < share, torch.randn(steps + 1, envs, 4).double()
    found = []
    for run in (recurrence, reference_gru):
        inputs = x.clone().requires_grad_()
        outputs, last = run(cell, inputs, state, starts)
        loss = (outputs * weights[:-1]).sum() + (last * weights[-1]).sum()
        found.append([outputs, last, *torch.autograd.grad(loss, [inputs, *cell.parameters()])])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


RESETS = {
    "never": lambda steps: torch.zeros(steps, N, dtype=torch.bool),
    "at the first step": lambda steps: torch.arange(steps).eq(0).unsqueeze(1).expand(steps, N),
    "at the last step": lambda steps: torch.arange(steps).eq(steps - 1).unsqueeze(1).expand(steps, N),
    "of one environment alone": lambda steps: (
        torch.arange(N).eq(1).expand(steps, N) & (torch.arange(steps) % 3 == 1)[:, None]
    ),
    "at every step": lambda steps: torch.ones(steps, N, dtype=torch.bool),
}


@pytest.mark.parametrize("resets", RESETS.values(), ids=RESETS)
@pytest.mark.parametrize("steps", [1, 2, 7, 8, 16, 24])
def test_the_gru_policy_and_all_its_gradients_are_those_of_a_grucell_called_step_by_step(steps, resets):
    policy, obs, state, _ = make(("gru", Box(-1, 1, (3,)), Discrete(4), {}), steps)
    policy, obs, state, starts = policy.double(), obs.double(), state.double(), resets(steps)
    actions, weights = torch.randint(4, (steps, N)), torch.randn(2, steps, N).double()
    x, last = reference_gru(policy.trunks[0].cells[0], policy.embeddings[0](obs).tanh(), state, starts)
    expected = torch.distributions.Categorical(logits=policy.actor(x)).log_prob(actions), policy.critic(x).squeeze(-1)
    dist, values, after = policy(obs, state, starts)
    found = dist.log_prob(actions), values
    torch.testing.assert_close((*found, after), (*expected, last), rtol=1e-10, atol=1e-10)
    losses = [(weights * torch.stack(pair)).sum() for pair in (found, expected)]
    gradients = [torch.autograd.grad(loss, [*policy.parameters()]) for loss in losses]
    for (name, _), ours, theirs in zip(policy.named_parameters(), *gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize(
    ("name", "space", "expected"),
    [
        ("gru", IMAGE, GRUPolicy),
        ("transformer", Discrete(3), TransformerPolicy),
        ("ppo.policies.mlp:MLPPolicy", Discrete(3), MLPPolicy),
    ],
)
def test_a_policy_is_built_by_its_name(name, space, expected):
    assert type(build_policy(name, space, Discrete(2), SMALL)) is expected


@pytest.mark.parametrize(
    ("space", "kind", "expected"),
    [
        (Box(-1, 1, (3,)), VectorEnv, "mlp"),
        (Box(0, 255, (36, 35, 3), np.uint8), VectorEnv, "mlp"),
        (Dict(eye=IMAGE), VectorEnv, "cnn"),
        (Discrete(3), TextEnv, "gru"),
    ],
)
def test_auto_follows_from_the_environment(space, kind, expected):
    envs = kind()
    envs.single_observation_space = space
    assert resolve_policy("auto", envs) == expected
    assert resolve_policy("mlp", envs) == "mlp"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstm", r"'lstm' is unknown; choose auto, mlp, cnn, gru, transformer, or package\.module:Class"),
        ("json:", r"'json:' is unknown"),
        (":Net", r"':Net' is unknown"),
        ("nowhere.at.all:Net", "no module nowhere"),
        ("json:Net", "module json has no Net"),
        ("json:dumps", r"'json:dumps' is no subclass of ppo\.Policy"),
        ("torch.nn:Linear", r"'torch\.nn:Linear' is no subclass of ppo\.Policy"),
        ("cnn", "the cnn policy needs an image .* use --policy mlp"),
    ],
)
def test_a_policy_that_cannot_be_built_is_a_usage_error(name, message):
    with pytest.raises(UsageError, match=message):
        build_policy(name, Box(-1, 1, (3,)), Discrete(2), SMALL)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import nowhere_at_all", ModuleNotFoundError),
        ("import math; math.nope", AttributeError),
        ("1 / 0", ZeroDivisionError),
    ],
)
def test_an_error_inside_a_users_own_module_keeps_its_traceback(tmp_path, monkeypatch, source, error):
    name = f"own_{error.__name__.lower()}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error):
        build_policy(f"{name}:Net", Box(-1, 1, (3,)), Discrete(2), SMALL)


def test_a_policy_class_of_ones_own_gets_spaces_and_options(tmp_path, monkeypatch):
    (tmp_path / "own_policy.py").write_text(
        "from ppo.policies import Policy\n"
        "class Net(Policy):\n"
        "    def __init__(self, obs_space, action_space, **options):\n"
        "        super().__init__()\n"
        "        self.given = obs_space, action_space, options\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    policy = build_policy("own_policy:Net", MIXED, Discrete(2), SMALL)
    assert isinstance(policy, Policy)
    assert policy.given == (MIXED, Discrete(2), SMALL)


def features(space: gymnasium.Space, *obs: object, **options: bool) -> list[list[float]]:
    """Return the features of observations given one by one, each as a list, in the order of its numbers."""
    packed = Packer(space)(concatenate(space, obs, create_empty_array(space, len(obs))))
    return Features(space, **options)(packed.unsqueeze(0))[0][0].tolist()


@pytest.mark.parametrize(
    "space",
    [
        Discrete(7, start=-1),
        Dict(token=Discrete(7), action_mask=MultiBinary(4)),
        Dict(token=Discrete(7), action_mask=Tuple([MultiBinary(2), MultiBinary(3)])),
        MASKED,
        MIXED,
    ],
    ids=one_line,
)
def test_an_embedding_is_a_linear_layer_on_the_features(space):
    module, obs = Features(space), random_obs(space, 3, 4)
    layers = [nn.Linear(module.size, 5), nn.Linear(module.size, 6)]
    features, mask = module(obs)
    found, same_mask = module.embed(obs, layers)
    for x, layer in zip(found, layers, strict=True):
        torch.testing.assert_close(x, layer(features))
    assert (mask is None and same_mask is None) or torch.equal(mask, same_mask)


def test_a_token_is_looked_up_without_a_vector_as_long_as_the_vocabulary(monkeypatch):
    monkeypatch.setattr(functional, "one_hot", None)
    module, tokens = Features(Discrete(1000)), torch.randint(1000, (3, 4))
    layer = nn.Linear(module.size, 2)
    (x,), _ = module.embed(tokens, [layer])
    assert torch.equal(x, layer.weight.t()[tokens] + layer.bias)


def test_for_several_threads_machine_code_looks_up_by_products_whose_gradient_adds_in_a_fixed_order(monkeypatch):
    table, index = torch.randn(7, 3, requires_grad=True), torch.randint(7, (4, 5))
    expected = lookup(index, table)
    monkeypatch.setattr("ppo.machine.operations.recording", lambda: True)
    assert torch.equal(lookup(index, table), expected)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(functional, "embedding", None)
    assert torch.equal(lookup(index, table), expected)


def test_indices_become_one_hot():
    assert features(Discrete(3, start=-1), -1, 1) == [[1, 0, 0], [0, 0, 1]]
    space = MultiDiscrete([2, 3], start=[0, 5])
    assert features(space, np.array([1, 5]), np.array([0, 7])) == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    grid = MultiDiscrete([[2, 2], [1, 3]])
    assert features(grid, np.array([[1, 0], [0, 2]])) == [[0, 1, 1, 0, 1, 0, 0, 1]]


def test_bits_and_numbers_are_flattened_and_pixels_scaled():
    assert features(MultiBinary([2, 2]), np.array([[1, 0], [1, 1]], np.int8)) == [[1, 0, 1, 1]]
    assert features(Box(-9, 9, (2, 2)), np.array([[1, 2], [3, 4]], np.float32)) == [[1, 2, 3, 4]]
    assert features(Box(-9, 9, ()), np.array(2.5, np.float32)) == [[2.5]]
    assert features(Box(0, 255, (2,), np.uint8), np.array([0, 255], np.uint8)) == [[0, 1]]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_size_is_the_width_of_the_features(case):
    policy, obs, _, _ = make(case)
    found, mask = policy.features(obs)
    assert found.shape == (T, N, policy.features.size)
    assert (mask is None) == (policy.features.mask_size == 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_channel_orders_give_the_network_the_same_image(channels):
    wide = Box(0, 255, (40, 36, channels), np.uint8)
    tall = Box(0, 255, (channels, 40, 36), np.uint8)
    obs = random_obs(wide, 2, 3)
    last, first = Features(wide, conv=True), Features(tall, conv=True)
    first.load_state_dict(last.state_dict())
    torch.testing.assert_close(last(obs)[0], first(obs.permute(0, 1, 4, 2, 3).contiguous())[0])


def test_convolutions_read_pixels_from_zero_to_one():
    space = Dict(eye=IMAGE, speed=Box(-1, 1, (1,)))
    module, obs = Features(space, conv=True), random_obs(space, 1, 2)
    image = obs[0, :, : 36 * 36 * 3].reshape(2, 36, 36, 3).permute(0, 3, 1, 2) / 255
    expected = torch.cat([obs[0, :, -1:], module.images[0](image)], dim=-1)
    torch.testing.assert_close(module(obs)[0][0], expected)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Box(0, 255, (36, 36, 3), np.uint8), True),
        (Box(0, 255, (4, 84, 84), np.uint8), True),
        (Box(0, 255, (35, 84, 3), np.uint8), False),
        (Box(0, 255, (3, 84, 35), np.uint8), False),
        (Box(0, 1, (84, 84, 3), np.float32), False),
        (Box(0, 255, (84, 84), np.uint8), False),
        (MultiBinary([3, 84, 84]), False),
    ],
)
def test_an_image_is_uint8_of_rank_three_and_large_enough(space, expected):
    assert is_image(space) is expected


def test_only_box_numbers_are_normalised():
    space = Dict(bits=MultiBinary(2), place=Discrete(3), speed=Box(-99, 99, (2,)))
    module = Features(space, normalize=True)
    rows = torch.tensor([[[1.0, 0, 2, 10, -1], [1, 1, 0, 30, 1], [0, 0, 1, 999, 999]]])
    module.update_statistics(rows, torch.tensor([[True, True, False]]))  # means 20 and 0, deviations 10 and 1
    assert module.normalizer.mean.tolist() == [20.0, 0.0]
    found = module(torch.tensor([[[1.0, 0, 2, 15, 3]]]))[0][0, 0].tolist()
    assert found == pytest.approx([-0.5, 3, 1, 0, 0, 0, 1])  # numbers first, then bits and one-hot places as they are


def test_a_lone_vector_is_normalised_by_its_valid_rows():
    module = Features(Box(-99, 99, (2,)), normalize=True)
    rows = torch.tensor([[[1.0, 10.0], [999, 999]], [[3, 30], [999, 999]]])
    module.update_statistics(rows, torch.tensor([[True, False], [True, False]]))
    torch.testing.assert_close(module(torch.tensor([[[4.0, 15.0]]]))[0], torch.tensor([[[2.0, -0.5]]]))


def test_an_image_that_goes_to_convolutions_is_not_normalised():
    assert Features(IMAGE, normalize=True, conv=True).normalizer is None


def test_an_action_mask_is_no_feature():
    space = Dict(action_mask=Tuple([MultiBinary(2), MultiBinary(3)]), obs=Box(-1, 1, (2,)))
    obs = {"action_mask": (np.array([1, 0], np.int8), np.array([0, 1, 1], np.int8)), "obs": np.float32([0.5, -0.5])}
    packed = Packer(space)(concatenate(space, [obs], create_empty_array(space, 1)))
    module = Features(space)
    found, mask = module(packed.unsqueeze(0))
    assert (module.size, module.mask_size) == (2, 5)
    assert found.tolist() == [[[0.5, -0.5]]]
    assert mask.tolist() == [[[True, False, False, True, True]]]
    with pytest.raises(UsageError, match="nothing but a mask"):
        Features(Dict(action_mask=MultiBinary(2)))
