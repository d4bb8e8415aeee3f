"""The critic's key: the critic alone sees it, with every policy, and nothing that acts needs it."""

import gymnasium
import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from silent import Silent
from space_samples import random_obs
from torch import nn

from ppo import Config, Features, Head, Policy, Trainer, UsageError, evaluate, export, load_policy
from ppo.check import check
from ppo.cli.session import describe
from ppo.envs.critic_key import Declared, WithCritic, actor_space, critic_leaves, critic_note, hide_critic, mark_critic
from ppo.envs.space_json import from_json, to_json
from ppo.envs.spaces import Packer, leaves
from ppo.policies import build_policy
from ppo.run.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

T, N = 4, 3
SEEN, TOLD = Box(-9, 9, (2,)), Dict(mass=Box(-9, 9, (3,)), kind=Discrete(4))
EYE = Box(0, 255, (36, 36, 3), np.uint8)
FLAT = WithCritic(Dict([("critic", TOLD), ("obs", SEEN)]), "critic")
DEEP = WithCritic(Dict([("obs", Dict([("a", SEEN), ("state", TOLD)])), ("action_mask", MultiBinary(3))]), "state")
IMAGES = WithCritic(Dict([("map", EYE), ("eye", EYE), ("speed", SEEN)]), "map")
CASES = {
    "mlp": ("mlp", FLAT, {"normalize_obs": True}),
    "mlp under a mask": ("mlp", DEEP, {}),
    "mlp on a token": ("mlp", WithCritic(Dict(critic=SEEN, token=Discrete(5)), "critic"), {}),
    "cnn": ("cnn", IMAGES, {"normalize_obs": True}),
    "cnn, told numbers": ("cnn", WithCritic(Dict(critic=TOLD, eye=EYE), "critic"), {}),
    "impala": ("impala", WithCritic(Dict(critic=TOLD, eye=Box(0, 1, (6, 6, 2), bool)), "critic"), {}),
    "gru": ("gru", FLAT, {"normalize_obs": True}),
    "gru on a token": ("gru", WithCritic(Dict(critic=SEEN, token=Discrete(5)), "critic"), {}),
    "gru, the critic apart": ("gru", DEEP, {"separate_critic": True}),
    "gru, the critic feed-forward": ("gru", DEEP, {"feedforward_critic": True}),
    "gru, told an image": ("gru", WithCritic(Dict(critic=EYE, obs=SEEN), "critic"), {}),
    "transformer": ("transformer", FLAT, {"context": 2, "hidden_sizes": (16,)}),
}  # fmt: skip


class Told(gymnasium.Env):
    """Five steps of noise; the reward is what the critic is told; cut by truncation. Without `told`, the key is not there."""

    action_space = Discrete(3)

    def __init__(self, told: bool = True, masked: bool = False, key: str = "critic") -> None:
        own = {key: Box(-1, 1, (1,))} if told else {}
        self.observation_space, self.key, self.masked = Dict(own | {"obs": Box(-1, 1, (2,))}), key, masked

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.see()

    def see(self):
        obs = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        self.pays = float(obs[2])
        own = {self.key: obs[2:]} if self.key in self.observation_space.spaces else {}
        return own | {"obs": obs[:2]}, {"action_mask": np.array([1, 1, 0], np.int8)} if self.masked else {}

    def step(self, action):
        reward, self.time = self.pays * (action + 1), self.time + 1
        obs, info = self.see()
        return obs, reward, False, self.time == 5, info


@pytest.fixture(autouse=True)
def _environments(monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Told-v0", EnvSpec("Told-v0", Told))


def config(folder, **settings):
    sizes = {
        "num_envs": 2,
        "num_steps": 8,
        "num_minibatches": 2,
        "update_epochs": 1,
        "hidden_sizes": (8,),
        "state_size": 8,
    }
    return Config("Told-v0", runs_dir=folder, compile="off", vectorization="sync", total_timesteps=64, eval_episodes=2,
                  checkpoint_every=2, **(sizes | settings))  # fmt: skip


def test_leaves_under_the_key_are_the_critics_at_any_depth():
    assert critic_leaves(FLAT) == [True, True, False]
    assert critic_leaves(DEEP) == [False, True, True, False]
    assert critic_leaves(Dict(critic=SEEN)) == critic_leaves(SEEN) == [False]  # not marked
    assert actor_space(FLAT) == Dict(obs=SEEN)
    assert [path for path, _ in leaves(actor_space(DEEP))] == ["obs.a", "action_mask"]
    assert actor_space(SEEN) is SEEN
    assert critic_note(DEEP) == "obs.state.mass (3,) float32, obs.state.kind () int64"
    assert critic_note(SEEN) == ""
    again = from_json(to_json(DEEP))
    assert (again, again.critic_key) == (DEEP, "state")
    assert "critic_key" not in to_json(actor_space(DEEP))


@pytest.mark.parametrize(
    ("space", "key", "sentence"),
    [
        (Dict(state=SEEN, privileged_state=TOLD), "privileged", "'privileged' is not a key .*; choose privileged_state"),
        (Dict(a=SEEN, b=Dict(c=SEEN)), "zzz", "'zzz' is not a key .*; choose a or b or c"),
        (SEEN, "state", r"'state' is not a key of a Dict in the observation space Box.*; leave out critic_key, or return"),
        (Tuple([SEEN]), "0", "'0' is not a key"),
        (Dict(critic=SEEN), "critic", "nothing but the part 'critic', which the critic alone sees; add what the policy acts on"),
        (Dict(critic=SEEN, action_mask=MultiBinary(3)), "critic", "nothing but the part 'critic'"),
        (Dict(action_mask=MultiBinary(3), obs=Dict(critic=SEEN)), "critic", "nothing but the part 'critic'"),
    ],
)  # fmt: skip
def test_a_key_that_the_critic_cannot_have_is_one_sentence(space, key, sentence):
    envs = Silent({})
    envs.single_observation_space = space
    with pytest.raises(UsageError, match=sentence):
        mark_critic(envs, key)


def test_without_the_key_environments_stay_as_they_are():
    for space, key in ((SEEN, "critic"), (Dict(a=SEEN), "critic"), (Dict(critic=SEEN, a=SEEN), "")):
        envs = Silent({})
        envs.single_observation_space = space
        assert mark_critic(envs, key) is envs
        assert hide_critic(envs, key) is envs


def made(case):
    """Return a policy whose statistics are not those of the start, with observations, states and starts to run it on."""
    name, space, options = case
    torch.manual_seed(0)
    policy = build_policy(name, space, Discrete(3), {"hidden_sizes": (8,), "state_size": 5} | options)
    policy.actor.apply(lambda m: nn.init.normal_(m.weight, 0, 0.5) if isinstance(m, nn.Linear) else None)
    obs, starts = random_obs(space, T, N), torch.rand(T, N) < 0.3
    policy.update_statistics(obs, torch.ones(T, N, dtype=torch.bool))
    return policy, obs, torch.rand(N, policy.state_size), starts


def parts_of(space, obs):
    """Return the leaves of packed observations (T, N, *obs) as of the environments, those of the critic as well."""
    return [x.flatten(0, 1) for x in Packer(space).unpack(obs)]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@torch.no_grad()
def test_the_values_depend_on_what_the_critic_is_told_and_the_actions_do_not(case):
    policy, obs, state, starts = made(case)
    columns, told = parts_of(case[1], obs), critic_leaves(case[1])
    shuffled = [x.roll(1, 0) if alone else x for x, alone in zip(columns, told, strict=True)]
    other = Packer(case[1]).join(shuffled).unflatten(0, (T, N))
    (dist, values, after), (again, told_other, after_other) = (policy(x, state, starts) for x in (obs, other))
    assert torch.equal(dist.log_probs, again.log_probs)
    assert torch.equal(after, after_other)
    assert (values != told_other).any()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@torch.no_grad()
def test_a_policy_that_acts_alone_acts_alike_on_observations_without_the_key(case):
    policy, obs, state, starts = made(case)
    dist, _, after = policy(obs, state, starts)
    columns = zip(parts_of(case[1], obs), critic_leaves(case[1]), strict=True)
    packer = Packer(actor_space(case[1]))
    own = packer.join([x for x, alone in columns if not alone]).unflatten(0, (T, N))
    policy.features.act_alone(case[1])
    again, values, after_alone = policy(own, state, starts)
    assert torch.equal(dist.log_probs, again.log_probs)
    assert torch.equal(after, after_alone)
    assert values.shape == (T, N)


def test_the_critics_part_has_statistics_of_its_own_over_valid_rows():
    space = WithCritic(Dict([("critic", Box(-99, 99, (1,))), ("obs", Box(-99, 99, (1,)))]), "critic")
    features = Features(space, normalize=True)
    assert (features.size, features.critic_size) == (1, 1)
    features.update_statistics(torch.tensor([[[10.0, 1.0], [30, 3], [99, 99]]]), torch.tensor([[True, True, False]]))
    assert (features.normalizer.mean.tolist(), features.critic.normalizer.mean.tolist()) == ([2], [20])
    obs = torch.tensor([[[40.0, 5.0]]])
    x, _ = features(obs)
    torch.testing.assert_close(features.for_critic(x, obs), torch.tensor([[[3.0, 2.0]]]))
    assert Features(Dict(critic=SEEN, obs=SEEN)).critic is None


class Own(Policy):
    """Two layers; `reads` says what the actor, the critic and nobody read of the critic's features."""

    def __init__(self, obs_space, action_space, *, reads="critic", **options):
        super().__init__()
        self.features, self.reads = Features(obs_space), reads
        size = self.features.size + self.features.critic_size
        self.head = Head(action_space, **options)
        self.actor, self.critic = nn.Linear(size if reads == "both" else 2, 3), nn.Linear(2 if reads == "" else size, 1)
        nn.init.zeros_(self.critic.weight)

    def forward(self, obs, state, starts):
        x, mask = self.features(obs)
        told = self.features.for_critic(x, obs)
        seen = told if self.reads == "both" else x
        return self.head(self.actor(seen), mask), self.critic(x if self.reads == "" else told).squeeze(-1), state


class Raw(Own):
    """Reads packed observations itself."""

    def __init__(self, obs_space, action_space, **options):
        super().__init__(Box(-1, 1, (2,)), action_space, **options)


def test_a_policy_of_ones_own_must_show_the_key_to_its_critic_alone():
    assert build_policy("test_critic_key:Own", FLAT, Discrete(3), {}).features.critic_size == 7
    for name, reads, sentence in (
        ("Own", "", r"does not read what the critic alone sees, the key 'critic'; .* features\.for_critic\(x, obs\)"),
        ("Own", "both", "the actor of policy = 'test_critic_key:Own' reads what the critic alone sees"),
        ("Raw", "critic", "does not read what the critic alone sees"),
    ):
        with pytest.raises(UsageError, match=sentence):
            build_policy(f"test_critic_key:{name}", FLAT, Discrete(3), {"reads": reads})


@pytest.mark.parametrize(
    "settings", [{}, {"policy": "gru", "normalize_obs": True}, {"env_kwargs": {"masked": True}}], ids=str
)
def test_a_run_evaluates_and_acts_with_and_without_the_key(tmp_path, settings):
    with Trainer(config(tmp_path, **settings)) as trainer:
        assert ("critic", "alone sees obs.critic (1,) float32; the policy acts without it") in [
            (name, text.replace("sees critic", "sees obs.critic")) for name, text in describe(trainer)
        ]
        run = trainer.train()
    with_key, without = (evaluate(run, 4, env_kwargs=kwargs) for kwargs in ({}, {"told": False}))
    assert [e.episode_return for e in with_key.episodes] == [e.episode_return for e in without.episodes]
    player, (obs, info) = load_policy(run), Told(masked="env_kwargs" in settings).reset(seed=0)
    mask, acting = info.get("action_mask"), {"obs": obs["obs"]}
    (action, state), (other, _) = (player.act(seen, mask=mask) for seen in (obs, acting))
    assert action == other
    assert np.array_equal(*(player.probabilities(seen, state, mask=mask) for seen in (obs, acting)))


def test_a_run_with_the_key_resumes_bit_for_bit(tmp_path):
    settings = {"policy": "gru", "normalize_obs": True}
    whole = Trainer(config(tmp_path / "whole", **settings)).train()
    trainer = Trainer(config(tmp_path / "stopped", **settings))
    for progress in trainer.iterations():
        if progress.iteration == 2:
            break
    again = Trainer.resume(trainer.run_dir).train()
    one, other = (read_checkpoint(run / "checkpoints" / "latest.safetensors")[0] for run in (whole, again))
    assert "policy.features.critic.normalizer.mean" in one
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    with pytest.raises(UsageError, match="critic_key is fixed when a run begins"):
        Trainer.resume(again, {"critic_key": ""})


@pytest.mark.parametrize("fmt", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_an_export_takes_observations_without_the_key(tmp_path, fmt):
    run = Trainer(config(tmp_path, policy="gru", normalize_obs=True)).train()
    player, obs, states = load_policy(run), np.array([[0.5, -0.5]], np.float32), np.zeros((1, 8), np.float32)
    expected, _ = player.act({"obs": obs[0]})
    exported = export(run, fmt, env_kwargs={"told": fmt == "onnx"})
    assert exported.inputs == ["obs.obs (N, 2) float32", "state (N, 8) float32", "starts (N) bool"]
    assert (exported.difference, exported.where) == (0, "Told-v0")
    if fmt == "onnx":
        inputs = {"obs.obs": obs, "state": states, "starts": np.ones(1, bool)}
        action = onnxruntime.InferenceSession(exported.path).run(None, inputs)[0]
    else:
        program = torch.export.load(exported.path).module()
        action = program(*map(torch.from_numpy, (obs, states, np.ones(1, bool))))[0].tolist()
    assert action == [expected]


def test_a_key_of_another_name_and_none(tmp_path):
    kwargs = {"key": "privileged_state"}
    with pytest.raises(UsageError, match="is not a key of a Dict in the observation space"):
        Trainer(config(tmp_path, critic_key="privileged_state"))
    run = Trainer(config(tmp_path, critic_key="privileged_state", env_kwargs=kwargs)).train()
    assert load_policy(run).obs_space == Dict(obs=Box(-1, 1, (2,)))
    run = Trainer(config(tmp_path, critic_key="")).train()
    assert load_policy(run).obs_space == Told().observation_space
    with pytest.raises(UsageError, match="the observation does not fit Dict"):
        load_policy(run).act({"obs": np.zeros(2, np.float32)})


def test_a_check_says_what_the_critic_alone_sees():
    assert dict(check("Told-v0", 2, 20))["critic"] == "alone sees critic (1,) float32; the policy acts without it"
    assert "critic" not in dict(check("Told-v0", 2, 20, critic_key=""))
    assert "critic" not in dict(check("CartPole-v1", 2, 20))


def test_declared_environments_return_what_they_did():
    envs = Declared(Silent({}), Dict(x=SEEN))
    assert envs.single_observation_space == Dict(x=SEEN)
    assert envs.reset()[0].tolist() == [[0.0], [0.0]]
