"""Recording: complete episodes, equal shares, whatever the autoreset mode; and what is recorded is learnt from."""

import gymnasium
import numpy as np
import pytest
from counters import LENGTHS, MODES, N, collector_of, counters
from gymnasium.spaces import Box, Dict, Discrete

from ppo import Trainer, UsageError, evaluate, preset, record
from ppo.cli import main as cli
from ppo.demonstrations import read
from ppo.loop.play import play
from ppo.recording import Recorder


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("as_dict", [False, True])
def test_each_environment_records_its_share_of_the_episodes_that_start_first(mode, as_dict):
    envs, recorder = counters(mode, as_dict=as_dict), Recorder(5)
    play(collector_of(envs, "mlp"), 5, seed=0, keep=recorder)
    arrays, rewards, ends = recorder.arrays(), [], []
    for env, share in enumerate([1, 2, 2]):
        for episode in range(share):
            length = LENGTHS[env][episode]
            rewards += [100 * env + 10 * episode + step for step in range(length)]
            ends += [(t == length - 1) * (1 + (env + episode) % 2) for t in range(length)]
    assert arrays["rewards"].tolist() == rewards
    assert arrays["terminations"].tolist() == [end == 2 for end in ends]
    assert arrays["truncations"].tolist() == [end == 1 for end in ends]
    seen = arrays["observations/numbers"] if as_dict else arrays["observations"]
    assert (4 * seen[:, 2]).tolist() == [reward % 10 for reward in rewards]
    assert (4 * seen[1:, 3]).tolist() == [
        action if step else 0 for action, step in zip(arrays["actions"], np.array(rewards[1:]) % 10, strict=False)
    ]
    assert "valid" not in arrays
    assert not as_dict or arrays["observations/phase"].tolist() == [reward % 10 for reward in rewards]


def test_an_episode_that_is_cut_ends_with_a_truncation():
    envs, recorder = counters(MODES[1]), Recorder(N)
    play(collector_of(envs, "mlp"), N, seed=0, max_steps=2, keep=recorder)
    arrays = recorder.arrays()
    assert len(arrays["rewards"]) == 2 * N
    assert (arrays["truncations"] | arrays["terminations"]).tolist() == [False, True] * N


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = preset("CartPole-v1").replace({"total_timesteps": 128, "compile": "off", "vectorization": "sync"})
    with Trainer(config.replace({"runs_dir": str(tmp_path_factory.mktemp("runs")), "eval_episodes": 0})) as trainer:
        return trainer.train()


def test_a_file_has_the_episodes_of_the_evaluation_and_says_where_they_are_from(run, tmp_path, capsys):
    cli.main(["record", str(run), "--out", str(tmp_path / "d.npz"), "--episodes", "3", "--actions", "sampled"])
    lines = " ".join(capsys.readouterr().out.split())
    report = evaluate(run, 3, deterministic=False)
    assert str(report) in lines
    assert f"pretrain CartPole-v1 --demonstrations {tmp_path / 'd.npz'}" in lines
    with Trainer(preset("CartPole-v1").replace({"runs_dir": str(tmp_path), "vectorization": "sync"})) as trainer:
        spaces = trainer.envs.single_observation_space, trainer.envs.single_action_space
    demonstrations = read(str(tmp_path / "d.npz"), *spaces)
    assert [len(rows) for rows in demonstrations.episodes] == [episode.length for episode in report.episodes]
    assert demonstrations.metadata["env_id"] == "CartPole-v1"
    assert demonstrations.metadata["policy"] == f"{run.name}, latest checkpoint at step 128, sampled"


class Told(gymnasium.Env):
    """Choose the side that is paid; the critic alone sees the time."""

    observation_space = Dict(critic=Box(0, 9, (1,)), obs=Box(0, 1, (2,)))
    action_space = Discrete(2)

    def __init__(self, side=1):
        self.side = side

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._see(), {}

    def step(self, action):
        self.time += 1
        return self._see(), float(action == self.side), self.time == 5, False, {}

    def _see(self):
        return {"critic": np.array([self.time], np.float32), "obs": np.ones(2, np.float32)}


gymnasium.register("Told-v0", Told)


def test_the_printed_command_learns_from_what_the_critic_saw_in_the_same_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 4 --num-steps 16 --num-minibatches 2 --total-timesteps 64 --eval-episodes 0 --compile off"
    cli.main(f"train Told-v0 --policy gru --env-kwargs side 0 --vectorization sync {small}".split())
    capsys.readouterr()
    cli.main(["record", "runs/Told-v0__ppo__s1", "--out", "d.npz", "--episodes", "6"])
    assert read("d.npz", Told.observation_space, Told.action_space).observations[0][:6, 0].tolist() == [
        0,
        1,
        2,
        3,
        4,
        0,
    ]
    command = capsys.readouterr().out.split("pretrain ")[1].split()
    assert command[:6] == ["Told-v0", "--env-kwargs", "side=0", "--policy", "gru", "--demonstrations"]
    cli.main(["pretrain", *command, *small.split()[:-4], "--compile", "off"])
    output = " ".join(capsys.readouterr().out.split())
    assert "on 5 held-out steps" in output
    assert "the demonstrations are of" not in output
    cli.main(["pretrain", "Told-v0", "--demonstrations", "d.npz", *small.split()[:-4], "--compile", "off"])
    assert "the demonstrations are of Told-v0, side 0, the run is of Told-v0" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("out", "options", "sentence"),
    [
        ("no/d.npz", {}, "choose a name that ends with .npz in a folder that exists"),
        ("d.pkl", {}, "choose a name that ends with .npz"),
        ("d.npz", {"episodes": 0}, "episodes = 0 is too small"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(run, tmp_path, out, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        record(run, tmp_path / out, **options)


def test_a_run_that_writes_text_is_refused(tmp_path):
    small = {"num_envs": 2, "num_steps": 4, "num_minibatches": 1, "policy": "gru", "compile": "off"}
    with Trainer(preset("text/Copy-v0").replace(small | {"runs_dir": str(tmp_path)})) as trainer:
        trainer.save(True)
        with pytest.raises(UsageError, match="writes text, whose demonstrations are lines of a file"):
            record(trainer.run_dir, tmp_path / "d.npz")
