"""Export: the file takes the actions of the run's policy, in every kind of space and for any number of environments."""

import math

import gymnasium
import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from ppo import Features, Head, Policy, Trainer, UsageError, export, load_policy, preset
from ppo.cli import main as cli

SMALL = {"num_envs": 4, "num_steps": 16, "num_minibatches": 2, "compile": "off", "eval_episodes": 0, "threads": 1,
         "hidden_sizes": [16], "state_size": 16}  # fmt: skip


class Everything(gymnasium.Env):
    """Each kind of space in the observation and in the action; observations are random."""

    observation_space = Dict({
        "a": Box(-2, 3, (2, 2), np.float64), "b": Discrete(3, start=5), "c": MultiDiscrete([2, 4]), "d": MultiBinary(3),
    })  # fmt: skip
    action_space = Dict({
        "box": Box(np.array([-1, 0], np.float64), np.array([1, 7], np.float64), dtype=np.float64),
        "more": Tuple([Discrete(3, start=-1), MultiBinary(2), MultiDiscrete([2, 3])]),
    })  # fmt: skip

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observation_space.sample(), float(action["box"][0]), self.t == 5, False, {}


class Picture(Everything):
    """The observation is an image."""

    observation_space = Box(0, 255, (36, 36, 3), np.uint8)
    action_space = Discrete(3)

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


gymnasium.register("Everything-v0", Everything)
gymnasium.register("Picture-v0", Picture, max_episode_steps=5)


def trained(tmp_path, env_id, policy="auto", envs=None, **more):
    config = preset(env_id, policy=policy).replace(SMALL | {"runs_dir": str(tmp_path)} | more)
    return Trainer(config.replace({"total_timesteps": 2 * config.batch_size}), envs).train()


@pytest.mark.parametrize(
    ("env_id", "policy", "more", "inputs", "outputs"),
    [
        pytest.param("CartPole-v1", "mlp", {"normalize_obs": True}, ["obs (N, 4) float32"], ["action (N) int64"],
                     marks=pytest.mark.slow),
        pytest.param("Pendulum-v1", "gru", {"action_bound": "tanh", "normalize_obs": True},
         ["obs (N, 3) float32", "state (N, 16) float32", "starts (N) bool"], ["action (N, 1) float32", "next_state (N, 16) float32"],
         marks=pytest.mark.slow),
        pytest.param("text/RandomWalks-v0", "gru", {},
         ["obs.token (N) int64", "obs.action_mask (N, 22) int8", "state (N, 16) float32", "starts (N) bool"],
         ["action (N) int64", "next_state (N, 16) float32"], marks=pytest.mark.slow),
        ("text/Copy-v0", "transformer", {"context": 20, "num_layers": 1, "hidden_sizes": [32]},
         ["obs (N) int64", "state (N, 1281) float32", "starts (N) bool"], ["action (N) int64", "next_state (N, 1281) float32"]),
        ("Picture-v0", "auto", {}, ["obs (N, 36, 36, 3) uint8"], ["action (N) int64"]),
        ("Everything-v0", "mlp", {"normalize_obs": True},
         ["obs.a (N, 2, 2) float64", "obs.b (N) int64", "obs.c (N, 2) int64", "obs.d (N, 3) int8"],
         ["action.box (N, 2) float64", "action.more.0 (N) int64", "action.more.1 (N, 2) int8", "action.more.2 (N, 2) int64"]),
    ],
)  # fmt: skip
def test_the_file_acts_as_the_run(tmp_path, env_id, policy, more, inputs, outputs):
    run = trained(tmp_path, env_id, policy, **more)
    for fmt in ("torch-export", "onnx"):
        exported = export(run, fmt)
        assert (exported.inputs, exported.outputs) == (inputs, outputs)
        assert exported.path.stat().st_size > 1000
        assert (exported.observations, exported.where) == (192, env_id)
        assert exported.difference < 1e-5


def test_the_file_works_for_any_number_of_environments(tmp_path):
    run = trained(tmp_path, "CartPole-v1", "gru")
    player = load_policy(run)
    paths = [export(run, fmt, tmp_path / name).path for fmt, name in (("torch-export", "a.pt2"), ("onnx", "b.onnx"))]
    module, session = torch.export.load(paths[0]).module(), onnxruntime.InferenceSession(paths[1])
    rng = np.random.default_rng(0)
    for places in (1, 2, 7):
        states = [None] * places
        torch_state = onnx_state = np.ones((places, 16), np.float32)  # `starts` clears it
        for step in range(4):
            obs, starts = rng.normal(size=(places, 4)).astype(np.float32), np.full(places, step == 0)
            expected = [player.act(obs[n], states[n]) for n in range(places)]
            states = [state for _, state in expected]
            action, state = module(*(torch.from_numpy(x) for x in (obs, torch_state, starts)))
            torch_state = state.detach().numpy()
            assert action.tolist() == [a for a, _ in expected]
            action, onnx_state = session.run(None, {"obs": obs, "state": onnx_state, "starts": starts})
            assert action.tolist() == [a for a, _ in expected]
            np.testing.assert_allclose(onnx_state, torch.cat(states).numpy(), atol=1e-5)


def test_a_run_on_environments_of_ones_own_is_compared_on_random_observations(tmp_path):
    run = trained(tmp_path, "CartPole-v1", envs=gymnasium.make_vec("CartPole-v1", num_envs=4))
    assert export(run).where.startswith("random, since the run was trained on a VectorEnv of your own")


class Movable(gymnasium.Env):
    """Its argument has to be there."""

    observation_space, action_space = Box(-1, 1, (3,)), Discrete(2)

    def __init__(self, file):
        if file == "absent":
            raise FileNotFoundError(file)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, True, False, {}


def test_a_policy_is_exported_without_its_environment_or_with_other_arguments(tmp_path):
    gymnasium.register("Movable-v0", Movable)
    run = trained(tmp_path, "Movable-v0", env_kwargs={"file": "here"})
    assert export(run, env_kwargs={"file": "moved"}).where == "Movable-v0"
    with pytest.raises(UsageError, match="FileNotFoundError: absent"):
        export(run, env_kwargs={"file": "absent"})
    del gymnasium.registry["Movable-v0"]  # another machine
    exported = export(run)
    assert exported.where.startswith("random, since env_id = 'Movable-v0' is unknown")
    assert exported.difference < 1e-5


def test_the_command_prints_inputs_and_outputs(tmp_path, monkeypatch, capsys):
    run = trained(tmp_path, "CartPole-v1")
    cli.main(["export", str(run)])
    out = " ".join(capsys.readouterr().out.split())
    assert "policy.pt2" in out
    assert "inputs obs (N, 4) float32 outputs action (N) int64 acts as the run's policy on 192 observations" in out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", str(run), "--format", "onnx"])
    assert stopped.value.code == 2
    assert "the format onnx needs onnx, onnxscript, onnxruntime; pip install" in " ".join(
        capsys.readouterr().err.split()
    )
    with pytest.raises(UsageError, match="has no checkpoint 'none'"):
        export(run, checkpoint="none")
    with pytest.raises(UsageError, match="cannot write"):
        export(run, path=tmp_path / "no" / "such" / "folder.pt2")


def test_a_file_that_acts_differently_is_not_written(tmp_path, monkeypatch):
    run = trained(tmp_path, "CartPole-v1")
    monkeypatch.setattr("ppo.exporting._load", lambda *_: lambda obs: [torch.full((3,), 2)])
    with pytest.raises(UsageError, match=r"acts differently at step 0: \[2, 2, 2\]"):
        export(run)
    assert not (run / "policy.pt2").exists()
    monkeypatch.setattr("ppo.exporting._load", lambda *_: lambda obs: [torch.full((3, 1), math.nan)])
    with pytest.raises(UsageError, match="acts differently at step 0"):
        export(trained(tmp_path, "Pendulum-v1"))


class Branching(Policy):
    """A policy that branches on the observation."""

    def __init__(self, obs_space, action_space, **options):
        super().__init__()
        self.features = Features(obs_space, False)
        self.head = Head(action_space, 0, **options)
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, obs, state, starts):
        x = self.layer(-obs if obs.sum() > 0 else obs)
        return self.head(x[..., :2]), x[..., 2], state


def test_a_policy_that_branches_is_one_sentence(tmp_path):
    run = trained(tmp_path, "CartPole-v1", "test_exporting:Branching")
    with pytest.raises(UsageError, match=r"cannot be exported as torch-export .*must consist of tensor operations"):
        export(run)


def test_the_file_name_must_have_the_suffix_of_the_format(tmp_path):
    run = trained(tmp_path, "CartPole-v1")
    for name in ("policy.onnx", "", "policy"):
        with pytest.raises(UsageError, match=r"choose one that ends in \.pt2"):
            export(run, path=tmp_path / name)


def test_sampling_options_do_not_change_the_mode(tmp_path):
    run = trained(tmp_path, "CartPole-v1", top_p=0.9, top_k=1, temperature=0.5)
    assert [export(run, fmt).difference for fmt in ("torch-export", "onnx")] == [0.0, 0.0]


@pytest.mark.parametrize("fmt", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_an_int8_file_is_smaller_and_acts_almost_as_the_run(tmp_path, fmt):
    run = trained(tmp_path, "CartPole-v1", hidden_sizes=[128, 128])
    whole, small = (export(run, fmt, quantize=quantize) for quantize in ("none", "int8"))
    assert small.path.name.startswith("policy_int8.")
    assert small.size == small.path.stat().st_size
    # 17,024 weights are in the actor's matrices, and as many in those of the critic, which ONNX leaves out; each loses three bytes
    assert whole.size - small.size > 0.8 * 3 * 17_024 * (1 + (fmt == "torch-export"))
    assert (whole.agreement, whole.difference) == (1, 0)
    assert small.agreement > 0.9
    if fmt == "torch-export":
        file = torch.export.load(small.path)
        assert sum(x.dtype == torch.int8 for x in file.state_dict.values()) == 6  # three matrices of actor and critic


@pytest.mark.slow
def test_an_int8_text_policy_goes_through_the_command(tmp_path, capsys):
    run = trained(tmp_path, "text/Copy-v0", "gru")
    cli.main(["export", str(run), "--quantize", "int8"])
    out = capsys.readouterr().out
    assert "policy_int8.pt2" in out
    assert "bytes" in out
    file, policy = torch.export.load(run / "policy_int8.pt2").module(), load_policy(run).policy
    obs, begin = torch.arange(5), torch.ones(5, dtype=torch.bool)
    action, state = file(obs, policy.initial_state(5), begin)
    expected = policy(obs.unsqueeze(0), policy.initial_state(5), begin.unsqueeze(0))[2]
    torch.testing.assert_close(state, expected, atol=0.02, rtol=0)
    assert action.shape == (5,)
