"""The vector is the policy: a change of one is a change of the other, and its gradient is that of the parameters."""

import copy

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from gymnasium.vector.utils import iterate
from gymnasium.vector.utils.space_utils import batch_space
from torch import Tensor, nn

from ppo.errors import UsageError
from ppo.machine.flat import FlatPolicy
from ppo.policies import Head, Policy, build_policy

T, N, H = 5, 3, 4
SPACE = Box(-1, 1, (6,))
SPACES = {
    "mlp": (SPACE, Dict(turn=Discrete(3), push=Box(-1, 1, (2,)))),
    "cnn": (Box(0, 255, (36, 36, 1), np.uint8), Discrete(3)),
    "gru": (SPACE, Box(-1, 1, (2,))),
}
every_policy = pytest.mark.parametrize("name", [*SPACES, "own lstm", "own gru", "tied"])


class Remembering(Policy):
    """A user's own policy around a recurrent module of torch, which keeps references to its weights."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.head, self.memory = Head(Discrete(3)), kind(6, H, num_layers=2)
        self.state_size = 2 * H if kind is nn.GRU else 4 * H
        self.actor, self.critic = nn.Linear(H, 3), nn.Linear(H, 1)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor):
        parts = [part.contiguous() for part in state.unflatten(1, (-1, 2, H)).permute(1, 2, 0, 3)]  # (2, N, H) each
        x, after = self.memory(obs, tuple(parts) if len(parts) > 1 else parts[0])
        after = torch.stack(after if isinstance(after, tuple) else [after])  # (parts, 2, N, H)
        return self.head(self.actor(x)), self.critic(x).squeeze(-1), after.permute(2, 0, 1, 3).flatten(1)


class Tied(Policy):
    """A user's own policy with two layers that share a weight, and an unused parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Head(Discrete(3))
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight
        self.unused = nn.Parameter(torch.randn(2, 2))
        self.actor, self.critic = nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor):
        x = self.second(torch.tanh(self.first(obs)))
        return self.head(self.actor(x)), self.critic(x).squeeze(-1), state


def make(name: str, seed: int = 0) -> Policy:
    torch.manual_seed(seed)
    own = {"own lstm": lambda: Remembering(nn.LSTM), "own gru": lambda: Remembering(nn.GRU), "tied": Tied}
    if name in own:
        return own[name]()
    policy = build_policy(name, *SPACES[name], {"hidden_sizes": (8,), "state_size": H, "normalize_obs": name == "mlp"})
    nn.init.normal_(policy.actor.weight if name != "mlp" else policy.actor[-1].weight)
    return policy


def inputs(policy: Policy, name: str) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    obs = torch.randint(256, (T, N, 36, 36, 1), dtype=torch.uint8) if name == "cnn" else torch.randn(T, N, 6)
    return obs, torch.randn(N, policy.state_size), torch.rand(T, N) < 0.3


def outputs(forward, arguments: tuple[Tensor, Tensor, Tensor], head: Head) -> list[Tensor]:
    """Return a policy's log-probabilities of fixed actions, entropies, values, and the state after the last step."""
    dist, values, state = forward(*arguments)
    with torch.no_grad():
        actions = torch.zeros_like(dist.sample(head.noise(*arguments[2].shape, deterministic=True)))
    return [dist.log_prob(actions), dist.entropy(), values, state]


def as_vector(tensors) -> Tensor:
    return torch.cat([x.detach().flatten() for x in tensors])


@every_policy
def test_a_flat_policy_computes_what_the_policy_did(name):
    policy = make(name)
    arguments, weights = inputs(policy, name), copy.deepcopy(policy.state_dict())
    expected = outputs(policy, arguments, policy.head)
    flat = FlatPolicy(policy)
    assert {key: x.tolist() for key, x in policy.state_dict().items()} == {k: x.tolist() for k, x in weights.items()}
    assert torch.equal(flat.vector, as_vector(policy.parameters()))
    torch.testing.assert_close(outputs(policy, arguments, policy.head), expected)
    torch.testing.assert_close(outputs(flat.forward, arguments, policy.head), expected)


@every_policy
def test_a_change_of_the_vector_changes_the_policy(name):
    policy, other = make(name), make(name, seed=7)
    arguments, expected = inputs(policy, name), outputs(other, inputs(other, name), other.head)
    flat = FlatPolicy(policy)
    assert not torch.allclose(outputs(policy, arguments, policy.head)[2], expected[2])
    flat.vector.copy_(as_vector(other.parameters()))
    torch.testing.assert_close(outputs(policy, arguments, policy.head), expected)
    torch.testing.assert_close(outputs(flat.forward, arguments, policy.head), expected)


@every_policy
def test_loading_weights_into_the_policy_changes_the_vector(name):
    policy, other = make(name), make(name, seed=7)
    flat = FlatPolicy(policy)
    place = flat.vector.data_ptr()
    policy.load_state_dict(other.state_dict())
    assert flat.vector.data_ptr() == place
    assert torch.equal(flat.vector, as_vector(other.parameters()))


@every_policy
def test_the_gradient_is_what_backward_leaves_at_the_parameters(name):
    policy, untouched = make(name), make(name)
    flat, weights = FlatPolicy(policy), torch.randn(3, T, N)

    def loss(forward) -> Tensor:
        return (torch.stack(outputs(forward, inputs(policy, name), policy.head)[:3]) * weights).sum()

    loss(untouched).backward()
    expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in untouched.parameters()]
    torch.testing.assert_close(flat.gradient(loss(flat.forward)), as_vector(expected), rtol=1e-5, atol=1e-5)
    assert (as_vector(expected) != 0).float().mean() > 0.3
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_parameter_that_nothing_depends_on_has_a_gradient_of_zeros():
    policy = Tied()
    flat = FlatPolicy(policy)
    where = as_vector(torch.full_like(p, float(key == "unused")) for key, p in policy.named_parameters()).bool()
    results = flat.gradient(flat.forward(*inputs(policy, "tied"))[1].sum())  # the value alone, not the actor either
    actor = as_vector(torch.full_like(p, float("actor" in key)) for key, p in policy.named_parameters()).bool()
    assert where.sum() == 4
    assert (results[where] == 0).all()
    assert (results[actor] == 0).all()
    assert (results[~where & ~actor] != 0).any()


def test_frozen_parameters_are_not_in_the_vector_and_do_not_change():
    policy = make("gru")
    policy.embeddings[0].weight.requires_grad_(False)
    before = policy.embeddings[0].weight.clone()
    flat = FlatPolicy(policy)
    trained = [x for key, x in policy.named_parameters() if key != "embeddings.0.weight"]
    assert torch.equal(flat.vector, as_vector(trained))
    assert len(flat.vector) == sum(p.numel() for p in policy.parameters()) - 6 * 8
    gradient = flat.gradient(flat.forward(*inputs(policy, "gru"))[1].sum())
    assert gradient.shape == flat.vector.shape
    flat.vector.sub_(1.0)
    assert torch.equal(policy.embeddings[0].weight, before)
    assert torch.equal(flat.other_tensors()["embeddings.0.weight"], before)


def test_tied_parameters_stand_in_the_vector_once_and_stay_tied():
    policy = make("tied")
    flat = FlatPolicy(policy)
    assert len(flat.vector) == 36 + 6 + 4 + 21 + 7  # the shared weight, a bias, the unused, the actor and the critic
    flat.vector.fill_(0.5)
    assert policy.first.weight is policy.second.weight
    assert (policy.second.weight == 0.5).all()


@pytest.mark.parametrize("change", ["double", "half"])
def test_parameters_of_several_dtypes_are_refused_in_one_sentence(change):
    policy = make("mlp")
    getattr(policy.critic, change)()
    with pytest.raises(UsageError) as caught:
        FlatPolicy(policy)
    dtype = {"double": "float64", "half": "float16"}[change]
    assert str(caught.value) == (
        "a policy's trained parameters must have one dtype and one device, not "
        + ", ".join(sorted(["torch.float32 on cpu", f"torch.{dtype} on cpu"]))
    )


def test_a_policy_without_trained_parameters_is_refused_in_one_sentence():
    policy = make("mlp").requires_grad_(False)
    with pytest.raises(
        UsageError, match=r"^a policy's trained parameters must have one dtype and one device, not none$"
    ):
        FlatPolicy(policy)


def test_frozen_parameters_may_be_of_another_dtype():
    policy = make("tied")
    policy.unused = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    assert len(FlatPolicy(policy).vector) == 36 + 6 + 21 + 7


def test_untrained_tensors_are_all_that_the_policy_reads_besides_the_vector():
    names = {
        "head.low",
        "head.high",
        "head.scale",
        "features.normalizer.mean",
        "features.normalizer.var",
        "features.normalizer.count",
        "features.normalizer.shift",
        "features.normalizer.scale",
    }
    assert set(FlatPolicy(make("mlp")).other_tensors()) == names


@every_policy
def test_with_another_vector_it_is_a_policy_with_those_weights_and_the_original_stays(name):
    policy, other = make(name), make(name, seed=7)
    flat, arguments = FlatPolicy(policy), inputs(policy, name)
    vector, before = as_vector(other.parameters()), flat.vector.clone()
    original = outputs(policy, arguments, policy.head)
    twin = flat.with_tensors(vector, flat.other_tensors())
    expected = outputs(other, arguments, other.head)
    torch.testing.assert_close(outputs(twin.forward, arguments, policy.head), expected)
    torch.testing.assert_close(outputs(policy, arguments, policy.head), original)
    torch.testing.assert_close(outputs(flat.forward, arguments, policy.head), original)
    assert torch.equal(flat.vector, before)

    def gradient(policy: FlatPolicy) -> Tensor:
        return policy.gradient(sum(x.sum() for x in outputs(policy.forward, arguments, other.head)[:3]))

    own = gradient(flat)
    torch.testing.assert_close(gradient(twin), gradient(FlatPolicy(other)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient(flat), own)


def test_with_other_buffers_it_reads_those_and_the_original_keeps_its_own():
    policy = make("mlp")
    flat, arguments = FlatPolicy(policy), inputs(policy, "mlp")
    before = policy(*arguments)[1]
    mean = torch.full((6,), 0.5)
    twin = flat.with_tensors(flat.vector, flat.other_tensors() | {"features.normalizer.shift": mean})
    shifted = policy(arguments[0] - 0.5, *arguments[1:])[1]
    torch.testing.assert_close(twin.forward(*arguments)[1], shifted)
    assert not torch.allclose(shifted, before)
    assert torch.equal(policy(*arguments)[1], before)


def lstm_in_bfloat16() -> bool:
    """Return whether torch has an LSTM in bfloat16 for this processor; oneDNN's needs AVX-512."""
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError:
        return False
    return True


@every_policy
def test_in_bfloat16_values_are_about_the_same_and_in_float32(name):
    if name == "own lstm" and not lstm_in_bfloat16():
        pytest.skip("torch has no LSTM in bfloat16 for this processor")
    policy = make(name)
    arguments = inputs(policy, name)
    expected = outputs(policy, arguments, policy.head)
    flat = FlatPolicy(policy, "bfloat16")
    results = outputs(flat.forward, arguments, policy.head)
    assert results[2].dtype == results[3].dtype == torch.float32
    assert not torch.equal(results[2], expected[2])
    torch.testing.assert_close([x.float() for x in results], expected, rtol=0.1, atol=0.1)
    assert flat.gradient(results[2].sum()).dtype == torch.float32


ACTIONS = {
    "choice": (Discrete(300), "clip"),
    "bits": (MultiBinary(3), "clip"),
    "numbers": (Box(-1, 1, (2,)), "clip"),
    "squashed numbers": (Box(-1, 1, (2,)), "tanh"),
    "choice and bits": (Dict(a=Discrete(300), b=MultiBinary(2)), "clip"),
    "all": (Dict(a=Discrete(3), b=MultiBinary(2), c=Box(-1, 1, (2,))), "tanh"),
}


@pytest.mark.parametrize(("space", "bound"), ACTIONS.values(), ids=ACTIONS)
def test_in_bfloat16_actions_and_log_probabilities_stay_in_float32(space, bound):
    torch.manual_seed(0)
    policy = build_policy("mlp", SPACE, space, {"hidden_sizes": (8,), "action_bound": bound})
    dist = FlatPolicy(policy, "bfloat16").forward(torch.randn(T, 64, 6), torch.zeros(64, 0), None)[0]
    actions = dist.sample(policy.head.noise(T, 64))
    expected = build_policy("mlp", SPACE, space, {"action_bound": bound})(torch.randn(T, 64, 6), None, None)[0]
    assert actions.dtype == expected.sample(policy.head.noise(T, 64)).dtype
    for x in (dist.log_prob(actions), dist.entropy()):
        assert x.dtype == torch.float32
        assert x.isfinite().all()
    rows = list(iterate(batch_space(space, 64), policy.head.to_env(actions[0])))
    assert all(space.contains(row) for row in rows)
