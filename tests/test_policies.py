"""Every policy keeps the contract: a sequence in one call is its steps one by one, whatever starts within it."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import VectorEnv
from space_samples import random_obs
from torch import nn

from ppo import Config, Trainer
from ppo.envs.text_env import TextEnv
from ppo.errors import UsageError
from ppo.loop.batch import Batch
from ppo.loop.estimates import Estimates
from ppo.loop.rollout import Rollout, Successors
from ppo.policies import Policy, build_policy, resolve_policy
from ppo.policies.gru import GRUPolicy
from ppo.policies.mlp import MLPPolicy
from ppo.policies.transformer import TransformerPolicy

pytestmark = pytest.mark.usefixtures("one_thread")

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
    "cnn on a grid of codes": ("cnn", Box(0, 255, (7, 7, 3), np.uint8), Discrete(4), {"normalize_obs": True}),
    "impala on bits": ("impala", Box(0, 1, (10, 10, 4), bool), Discrete(4), {}),
    "cnn on a dict": ("cnn", Dict(eye=IMAGE, speed=Box(-1, 1, (2,))), Box(-1, 1, (2,)), {"normalize_obs": True}),
    "gru": ("gru", Box(-1, 1, (3,)), Discrete(4), {"normalize_obs": True}),
    "gru on a dict": ("gru", MIXED, Tuple([MultiBinary(2), Box(-1, 1, ())]), {"action_bound": "tanh"}),
    "gru under a mask": ("gru", MASKED, Discrete(4), {}),
    "gru on an image": ("gru", IMAGE, MultiDiscrete([2, 3]), {}),
    "gru on an image and numbers": (
        "gru", Dict(eye=Box(0, 255, (2, 5, 5, 1), np.uint8), speed=Box(-1, 1, (2,))), Discrete(4), {"convolutions": "impala"},
    ),
    "gru of two layers, the critic apart": ("gru", Discrete(5), Discrete(5), {"num_layers": 2, "separate_critic": True}),
    "gru at a temperature": ("gru", Discrete(5), Discrete(5), {"temperature": 0.7, "top_k": 4, "top_p": 0.9}),
    "transformer": ("transformer", Discrete(5), Discrete(5), {}),
    "transformer on an image": ("transformer", Box(0, 1, (5, 5, 3)), Discrete(4), {"context": 2}),
    "transformer under a mask": ("transformer", MASKED, Discrete(4), {"context": 2}),
    "transformer of two layers": (
        "transformer", Box(-1, 1, (3,)), Box(-1, 1, (2,)),
        {"num_layers": 2, "context": 3, "hidden_sizes": (32,), "separate_critic": True},
    ),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


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
    assert (width == 0) == (case[0] in ("mlp", "cnn", "impala"))
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
        rewards=values, penalties=values * 0, kl_coefs=values * 0, reference=values.new_zeros(*values.shape, 0), terminated=no, truncated=no, value_ends=no, values=values, next_values=values, next_valid=~no[0],
        successors=Successors(torch.arange(0), obs[0, :0], state[:0]),
    )  # fmt: skip
    batch = Batch.from_rollout(rollout, rollout.valid, Estimates(values, values, values), length).select(
        torch.randperm(T // length * N)
    )
    dist, values, _ = policy(batch.obs, batch.states, batch.starts)
    ratio = (dist.log_prob(batch.actions) - batch.log_probs).exp()
    torch.testing.assert_close(ratio, torch.ones(length, batch.num_sequences))
    torch.testing.assert_close(values, batch.values)


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
        (Box(0, 9, (36, 36, 3), np.int32), VectorEnv, "mlp"),
        (Box(0, 1, (10, 10, 4), bool), VectorEnv, "cnn"),
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
        ("lstm", r"'lstm' is unknown; choose auto, mlp, cnn, impala, gru, transformer, or package\.module:Class"),
        ("json:", r"'json:' must have the form package\.module:Name"),
        (":Net", r"':Net' must have the form package\.module:Name"),
        (".own:Net", "is relative; give the module's full name"),
        ("nowhere.at.all:Net", "no module nowhere"),
        ("json:Net", "module json has no Net"),
        ("json:dumps", r"'json:dumps' is not a subclass of ppo\.Policy"),
        ("torch.nn:Linear", r"'torch\.nn:Linear' is not a subclass of ppo\.Policy"),
        ("cnn", "the cnn policy needs an image .* use --policy mlp"),
    ],
)
def test_a_policy_that_cannot_be_built_is_a_usage_error(name, message):
    with pytest.raises(UsageError, match=message):
        build_policy(name, Box(-1, 1, (3,)), Discrete(2), SMALL)


@pytest.mark.parametrize(
    ("source", "error"),
    [
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


def test_the_mistakes_of_an_own_policy_are_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "nets20.py").write_text(
        "from ppo.policies import POLICIES\n"
        "class Deep(POLICIES['mlp']):\n"
        "    def forward(self, obs, state, starts):\n"
        "        dist, values, state = super().forward(obs, state, starts)\n"
        "        return dist, values.unsqueeze(-1), state\n"
        "class Narrow(POLICIES['mlp']):\n"
        "    def __init__(self, obs_space, action_space):\n"
        "        pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = Config("CartPole-v1", num_envs=2, num_steps=8, runs_dir=tmp_path / "runs", total_timesteps=64)
    with pytest.raises(
        UsageError, match=r"accept \(obs_space, action_space, \*\*options\) \(got an unexpected keyword"
    ):
        Trainer(config.replace({"policy": "nets20:Narrow"}))
    with pytest.raises(UsageError, match=r"values of shape \(1, 2, 1\) .* must be \(T, N\) = \(1, 2\)"):
        Trainer(config.replace({"policy": "nets20:Deep"})).train()
