"""The command line: an error that the user can correct is one sentence and exit code 2, before anything is written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import probes
import pytest
from command_line import SHORT, TINY, ran, refused

import ppo
from ppo import Config
from ppo.cli import main as cli
from ppo.config.values import read_toml
from ppo.run.checkpoint import read_checkpoint


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder; the command line adds it to sys.path, which is restored afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path


BAD_TRAIN = {
    "CartPol-v1": "env_id = 'CartPol-v1' is unknown; did you mean CartPole-v1",
    "CartPole-v9": "env_id = 'CartPole-v9' is unknown; did you mean CartPole-v1",
    "CartPole": "env_id = 'CartPole' is unknown; did you mean CartPole-v1",
    "Zzzzzzzzzz": "env_id = 'Zzzzzzzzzz' is unknown; `ppo envs` lists the installed ones",
    "no_such_module:X-v0": "there is no module no_such_module; is it on PYTHONPATH?",
    ".relative:X-v0": "env_id = '.relative:X-v0'",
    "probes:Absent-v0": "env_id = 'probes:Absent-v0' is unknown",
    "probes:Wordy-v0": "observation space at 'words.0' is Text, which is not supported",
    "CartPole-v1 --policy lstm": "policy = 'lstm' is unknown; choose auto, mlp, cnn, impala, gru, transformer, or package.module:Class",
    "CartPole-v1 --policy os:path": "policy = 'os:path' is not a subclass of ppo.Policy",
    "CartPole-v1 --policy os:absent": "module os has no absent",
    "CartPole-v1 --policy absent:Net": "there is no module absent",
    "CartPole-v1 --policy .relative:Net": "policy = '.relative:Net'",
    "CartPole-v1 --policy cnn": "the cnn policy needs an image",
    "CartPole-v1 --num-minibatches 7": "num_envs * num_steps = 128 does not divide into num_minibatches = 7",
    "CartPole-v1 --policy gru --seq-len 5": "seq_len = 5 does not divide num_steps = 16",
    "CartPole-v1 --num-envs 0": "num_envs = 0 is too small; choose at least 1",
    "CartPole-v1 --total-timesteps 127": "total_timesteps = 127 is less than one rollout",
    "CartPole-v1 --gamma 1.5": "gamma = 1.5 is out of range; choose a number from 0 to 1",
    "CartPole-v1 --learning-rate nan": "learning_rate = nan is out of range",
    "CartPole-v1 --ent-coef -1": "ent_coef = -1.0 is too small; choose at least 0",
    "CartPole-v1 --seed -1": "seed = -1 is too small",
    "Pendulum-v1 --log-std-init nan": "log_std_init = nan is out of range",
    "Pendulum-v1 --env-kwargs gravity 1": "Pendulum-v1 cannot be made with {'gravity': 1}: TypeError: PendulumEnv.__init__() got an unexpected keyword argument 'gravity'; it takes render_mode, g",
    "FrozenLake-v1 --env-kwargs map_name 3x3": "FrozenLake-v1 cannot be made with {'map_name': '3x3'}: KeyError: '3x3'",
    "Pendulum-v1 --vectorization vector_entry_point": "Pendulum-v1 has no vector entry point of its own",
    "text/Copy-v0 --vectorization sync": "text/Copy-v0 is a vector environment without single ones; leave out --vectorization sync",
    "CartPole-v1 --config absent.toml": "cannot read settings from absent.toml",
    "CartPole-v1 --config .": "cannot read settings from .",
}


@pytest.mark.parametrize("args", BAD_TRAIN)
def test_training_what_cannot_be_trained_is_one_sentence_and_leaves_nothing(folder, capsys, args):
    assert BAD_TRAIN[args] in refused(capsys, "train", *args.split())
    assert list(folder.iterdir()) == []


def test_a_family_that_is_not_installed_comes_with_its_install_line(folder, capsys, monkeypatch):
    monkeypatch.setattr("ppo.envs.families.is_installed", lambda name: False)
    assert refused(capsys, "train", "ALE/Pong-v5").endswith('is not installed: pip install -e ".[atari]"')
    assert refused(capsys, "train", "LunarLander-v3").endswith('not installed: pip install -e ".[box2d]"')
    assert refused(capsys, "check", "HalfCheetah-v5").endswith('not installed: pip install -e ".[mujoco]"')
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gama = 0.9", "unknown key gama in settings.toml"),
        ('gae_lambda = "x"', "gae_lambda = 'x' in settings.toml is not a number"),
        ('algorithm = "trpo"', "algorithm = 'trpo' in settings.toml is not one of ppo, a2c, reinforce"),
        ("gamma = 2.0", "gamma = 2.0 in settings.toml is out of range"),
        ("num_minibatches = 7", "does not divide into num_minibatches = 7"),
        ("gamma: 0.9", "cannot read settings from settings.toml"),
        ('env_id = "Absent-v0"', "env_id = 'Absent-v0' is unknown"),
    ],
)
def test_a_toml_file_that_cannot_be_followed_is_one_sentence(folder, capsys, text, sentence):
    (folder / "settings.toml").write_text(text)
    assert sentence in refused(capsys, "train", "--config", "settings.toml")
    assert [path.name for path in folder.iterdir()] == ["settings.toml"]


def test_cuda_that_is_asked_for_and_absent_is_one_sentence(folder, capsys):
    assert "device = 'cuda' needs a CUDA device" in refused(capsys, "train", "--device", "cuda")
    assert list(folder.iterdir()) == []


def test_a_run_dir_that_is_a_file_is_one_sentence(folder, capsys):
    (folder / "runs").write_text("mine")
    for run_dir in ("runs", "runs/deeper"):
        with pytest.raises(SystemExit):
            cli.main(["train", *SHORT, "--runs-dir", run_dir])
        out, err = capsys.readouterr()
        assert out == ""  # no header before the refusal
        assert "choose another --runs-dir" in err
    assert (folder / "runs").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(folder, capsys):
    (folder / "locked").mkdir(mode=0o500)
    assert "Permission denied" in refused(capsys, "train", *SHORT, "--runs-dir", "locked")


@pytest.mark.parametrize("size", [300, 1500])  # bytes: config.json does not fit; or the event file does not
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's writer thread dies
def test_no_space_in_the_run_folder_is_one_sentence(capsys, size):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        assert refused(capsys, "train", *SHORT).startswith("cannot write ")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", ["resume", "eval"])
def test_a_folder_that_is_no_run_is_one_sentence(folder, capsys, command):
    (folder / "empty").mkdir()
    for name in ("empty", "absent"):
        assert f"{name} is not a run folder (it has no config.json)" in refused(capsys, command, name)
    (folder / "empty" / "config.json").write_text("{}")
    assert "empty has no checkpoint 'latest'" in refused(capsys, command, "empty")


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_ppo_alone_lists_the_commands_and_says_where_the_documentation_is(capsys, args):
    with pytest.raises(SystemExit) as caught:
        cli.main(args)
    text = capsys.readouterr().out
    assert caught.value.code in (None, 0)
    assert all(f" {name} " in text for name in cli.COMMANDS)
    assert "\nStart here: docs/start.md; all pages: docs/index.md\n" in text


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (None, f"ppo {ppo.__version__}\n")


def test_an_environment_that_raises_shows_its_own_error_its_index_and_its_step(monkeypatch):
    monkeypatch.setattr(probes.Raising, "calls", 0)
    with pytest.raises(ValueError, match="the environment broke") as caught:  # the sixth step: of 1, in the third row
        cli.main(["train", "probes:Raising-v0", *SHORT, "--vectorization", "sync"])
    notes = " ".join(caught.value.__notes__)
    assert "environment 1" in notes
    assert "vector step 2 " in notes


def test_numbers_that_are_not_finite_stop_with_exit_code_1(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "probes:Faulty-v0", *SHORT, "--eval-episodes", "0"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "stopped: the reward of environment 0 at step 4 since the environments were reset is nan, which is not finite; the "
        "numbers around it are in runs/Faulty-v0__ppo__s1/nonfinite.safetensors "
        "(see docs/howto/debug.md#a-number-is-not-finite)\n"
    )


# ---- what works -----------------------------------------------------------------------------------------------------


def test_a_run_is_trained_evaluated_and_resumed(folder, capsys):
    out = ran(capsys, "train", "CartPole-v1", *SHORT, "--gamma", "0.5")
    for text in (
        "preset ppo + CartPole",
        "Discrete(2)",
        "mlp, ",
        "device  cpu: ",
        "threads  1: ",
        "compile  off: the run is too short",
        "T 16 x N 2 = 32 steps",
    ):
        assert text in out
    assert re.search(r"^\d+/256 steps .* SPS .*entropy 0\.69 .*ETA \d+ s$", out, re.MULTILINE)
    assert re.search(r"evaluation  return [\d.]+ over 2 deterministic episodes", out)
    assert "run folder  runs/CartPole-v1__ppo__s1\n" in out
    assert re.search(r"tensorboard --logdir runs\n", out)
    run = folder / "runs" / "CartPole-v1__ppo__s1"
    assert {path.name.split(".")[0] for path in run.iterdir()} == {"config", "progress", "checkpoints", "events"}
    settings = json.loads((run / "config.json").read_text())
    assert (settings["gamma"], settings["gae_lambda"], settings["num_envs"]) == (0.5, 0.8, 2)  # flag, preset, flag

    assert re.search(
        r"CartPole-v1, latest checkpoint, deterministic .* 3 episodes", ran(capsys, "eval", str(run), "--episodes", "3")
    )
    sampled = ran(capsys, "eval", str(run), "--actions", "sampled", "--checkpoint", "best", "--seed", "4")
    assert re.search(r"best checkpoint, sampled policy, 10 episodes: return [\d.]+ ± ", sampled)
    assert "is at step 246, so total_timesteps = 256 has no room for another rollout of 32 steps" in refused(
        capsys, "resume", str(run)
    )
    assert "has no checkpoint 'iteration_000009'" in refused(
        capsys, "eval", str(run), "--checkpoint", "iteration_000009"
    )
    assert "episodes = 0 is too small" in refused(capsys, "eval", str(run), "--episodes", "0")
    assert "total_timesteps = 8 is less than one rollout" in refused(
        capsys, "resume", str(run), "--total-timesteps", "8"
    )

    before = read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]["global_step"]
    assert f"resumed at step {before}" in ran(capsys, "resume", str(run), "--total-timesteps", "512")
    assert before < read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]["global_step"] <= 512
    assert [path.name for path in (folder / "runs").iterdir()] == ["CartPole-v1__ppo__s1"]


def test_a_negative_seed_of_an_evaluation_is_one_sentence(capsys):
    ran(capsys, "train", *TINY, "--total-timesteps", "32")
    assert "seed = -1" in refused(capsys, "eval", "runs/CartPole-v1__ppo__s1", "--seed", "-1")


@pytest.mark.parametrize("algorithm", ["a2c", "reinforce"])
def test_the_other_algorithms_train_too(folder, capsys, algorithm):
    sizes = ["--num-envs", "2", "--num-steps", "16", "--total-timesteps", "64", "--eval-episodes", "1"]
    assert f"preset {algorithm} + CartPole" in ran(capsys, "train", "--algorithm", algorithm, *sizes)
    assert (folder / "runs" / f"CartPole-v1__{algorithm}__s1" / "checkpoints" / "latest.safetensors").is_file()


def test_an_environment_and_a_policy_of_ones_own_are_found_where_one_stands(folder, capsys, monkeypatch):
    (folder / "mine_env.py").write_text(
        "import gymnasium, probes\ngymnasium.register('Mine-v0', entry_point=probes.Bandit)\n"
    )
    (folder / "mine_net.py").write_text("from ppo.policies.mlp import MLPPolicy\n\nclass Net(MLPPolicy):\n    pass\n")
    monkeypatch.delitem(sys.modules, "mine_env", raising=False)
    out = ran(
        capsys, "train", "mine_env:Mine-v0", "--policy", "mine_net:Net", *SHORT, "--exp-name", "trial", "--seed", "3"
    )
    assert "preset ppo + general" in out
    assert (folder / "runs" / "Mine-v0__trial__s3" / "config.json").is_file()
    del gymnasium.registry["Mine-v0"]


def settings(*args: str) -> Config:
    command = cli.parse(["train", *args])
    assert isinstance(command, cli.Train)
    return command.settings


def test_flags_go_over_the_file_and_the_file_goes_over_the_preset(folder):
    (folder / "f.toml").write_text("gamma = 0.7\ngae_lambda = 0.6\n")
    config = settings("CartPole-v1", "--config", "f.toml", "--gamma", "0.5")
    assert (config.gamma, config.gae_lambda, config.num_steps, config.ent_coef) == (0.5, 0.6, 16, 0.0)
    assert read_toml(folder / "f.toml") == {"gamma": 0.7, "gae_lambda": 0.6}


def test_the_file_chooses_the_preset_unless_a_flag_does(folder):
    (folder / "f.toml").write_text('env_id = "Pendulum-v1"\nalgorithm = "a2c"\n')
    config = settings("--config", "f.toml")
    assert (config.env_id, config.algorithm, config.optimizer, config.gamma) == ("Pendulum-v1", "a2c", "rmsprop", 0.9)
    config = settings("CartPole-v1", "--config", "f.toml", "--algorithm", "ppo")
    assert (config.env_id, config.algorithm, config.optimizer, config.gamma) == ("CartPole-v1", "ppo", "adam", 0.98)


def test_a_flag_that_repeats_the_default_still_goes_over_the_preset(folder):
    assert settings("CartPole-v1", "--gamma", "0.99", "--num-steps", "128").gamma == 0.99
    assert settings("CartPole-v1", "--gamma", "0.99", "--num-steps", "128").num_steps == 128


def test_environment_arguments_keep_their_types(folder):
    config = settings("Pendulum-v1", "--env-kwargs", "g", "1.5", "max_episode_steps", "7")
    assert config.env_kwargs == {"g": 1.5, "max_episode_steps": 7}


def test_a_foreign_text_in_an_error_cannot_command_the_terminal(folder, capsys):
    sentence = refused(capsys, "eval", "run\x1b]0;title\x07\nerror: forged")
    assert sentence.startswith(r"run\x1b]0;title\x07\nerror: forged is not a run folder")


def test_an_environment_that_exits_is_one_sentence_and_not_success(folder, capsys):
    (folder / "quitter.py").write_text(
        "import sys, gymnasium, probes\n"
        "class Quitter(probes.Bandit):\n"
        "    def step(self, action):\n"
        "        sys.exit(0)\n"
        "gymnasium.register('Quitter-v0', entry_point=Quitter)\n"
    )
    sentence = refused(capsys, "train", "quitter:Quitter-v0", *SHORT, "--vectorization", "sync")
    assert "environment" in sentence
    assert "sys.exit(0)" in sentence
    del gymnasium.registry["Quitter-v0"]


# ---- signals --------------------------------------------------------------------------------------------------------


def test_interrupt_and_terminate_write_a_checkpoint_and_print_how_to_go_on(folder, capsys):
    def start(name: str) -> subprocess.Popen[str]:
        args = [sys.executable, "-m", "ppo", "train", *TINY, "--total-timesteps", "50_000_000", "--exp-name", name]
        args += ["--compile", "off"]  # which takes longer than all that is tested here
        return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = {number: start(number.name) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, process in running.items():
        run = Path("runs") / f"CartPole-v1__{number.name}__s1"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (
            (run / "progress.csv").exists() and (run / "progress.csv").stat().st_size
        ):
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        step = read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]["global_step"]
        assert re.search(rf"stopped at step {step:,}; continue with: \S*ppo resume {run}$", out, re.MULTILINE)
        ran(capsys, "resume", str(run), "--total-timesteps", str(step + 64))
        assert read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]["global_step"] > step


def test_the_module_runs_like_the_command(folder):
    done = subprocess.run(
        [sys.executable, "-m", "ppo", "train", "Nope-v0"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: env_id = 'Nope-v0' is unknown")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_ctrl_c_is_quiet_from_the_start_on(folder, vectorization):
    args = [sys.executable, "-m", "ppo", "train", *TINY, "--total-timesteps", "50_000_000", "--compile", "off"]
    for delay in (0.0, 0.3, 1.0, 2.0, 3.5, 5.0):
        command = [*args, "--vectorization", vectorization]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            maps = Path(f"/proc/{process.pid}/maps")
            while "numpy" not in maps.read_text():  # Python has started, and the package imports what it needs
                time.sleep(0.01)
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) in ((130, "interrupted\n"), (0, "")), delay


def test_trust_is_a_flag_of_the_commands_that_read_runs(folder, capsys, monkeypatch):
    (folder / "their_net.py").write_text("from ppo.policies.mlp import MLPPolicy\n\nclass Net(MLPPolicy):\n    pass\n")
    monkeypatch.delitem(sys.modules, "their_net", raising=False)
    with monkeypatch.context() as patch:
        patch.setenv("PPO_CACHE", str(folder / "their cache"))
        ran(capsys, "train", *TINY, "--total-timesteps", "32", "--policy", "their_net:Net", "--eval-episodes", "0")
    run = "runs/CartPole-v1__ppo__s1"
    commands = {
        "eval": ["eval", run, "--episodes", "1"],
        "resume": ["resume", run, "--total-timesteps", "64"],
        "train": ["train", *TINY, "--total-timesteps", "32", "--init-from", run],
        "reference": ["train", *TINY, "--total-timesteps", "32", "--policy", "their_net:Net", "--reference", run],
    }
    for args in commands.values():
        sentence = refused(capsys, *args)
        assert "which this user has not made, needs the module their_net" in sentence
        assert "add --trust" in sentence
    ran(capsys, *commands["train"], "--policy", "their_net:Net", "--trust")
    assert "1 episode:" in ran(capsys, *commands["eval"], "--trust")
    ran(capsys, *commands["resume"], "--trust")
    assert "1 episode:" in ran(capsys, *commands["eval"])  # the latest checkpoint is now the user's own


@pytest.mark.slow
def test_a_run_has_one_writer_at_a_time(folder, capsys):
    args = [sys.executable, "-m", "ppo", "train", *TINY, "--total-timesteps", "50_000_000", "--compile", "off"]
    run = Path("runs/CartPole-v1__ppo__s1")
    with subprocess.Popen([*args, "--checkpoint-every", "5"], stdout=subprocess.PIPE, text=True) as process:
        while not (run / "checkpoints" / "latest.safetensors").exists():
            time.sleep(0.05)
        before = (run / "config.json").read_bytes()
        assert f"is in use by process {process.pid} on" in refused(capsys, "resume", str(run))
        assert (run / "config.json").read_bytes() == before
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    rows = (run / "progress.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [str(n + 1) for n in range(len(rows))]
    assert {path.name.split(".")[0] for path in run.iterdir()} == {"config", "progress", "checkpoints", "events"}
