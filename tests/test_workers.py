"""Worker processes step as this process does, do not run the user's script again, and leave Ctrl-C to the trainer."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import probes  # noqa: F401 (registers Reusing-v0)
import pytest
from gymnasium.spaces import MultiBinary
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from ppo import Config, Trainer, UsageError
from ppo.envs import autoreset_mode, check_envs, make_envs
from ppo.envs.workers import _interrupts_wait, hide_main
from ppo.run.checkpoint import read_checkpoint


def test_async_steps_as_sync_does_and_leaves_ctrl_c_as_it_was():
    handler = signal.getsignal(signal.SIGINT)
    stepped = []
    for vectorization, kind in (("async", AsyncVectorEnv), ("sync", SyncVectorEnv)):
        envs = make_envs("CartPole-v1", 2, vectorization)
        assert isinstance(envs, kind)
        assert autoreset_mode(envs) is AutoresetMode.SAME_STEP
        envs.reset(seed=0)
        steps = [envs.step(np.zeros(2, int)) for _ in range(12)]
        stepped.append([[column.tolist() for column in step[:4]] for step in steps])
        envs.close()
    assert stepped[0] == stepped[1]
    assert any(any(step[2]) for step in stepped[0])  # episodes end on the way
    assert signal.getsignal(signal.SIGINT) is handler


def test_workers_give_what_the_copies_give_do_not_import_torch_and_raise_their_own_errors():
    envs = check_envs(make_envs("Reusing-v0", 2, "async"), log_info=("steps", "torch"))
    assert envs.single_observation_space["action_mask"] == MultiBinary(2)  # from the method action_masks()
    envs.reset(seed=0)
    for _ in range(5):
        *_, infos = envs.step(np.zeros(2, int))
    assert [obs["obs"].tolist() for obs in infos["final_obs"]] == [[5], [5]]
    assert infos["final_info"]["steps"].tolist() == [5, 5]
    assert infos["final_info"]["torch"].tolist() == [0, 0]
    with pytest.raises(AssertionError, match="action 1 is masked") as error:
        envs.step(np.array([0, 1]))
    assert error.value.__notes__[0] == "(raised by environment 1)"
    assert error.value.__notes__[1].startswith("in the worker process:")
    envs.close(terminate=True)


def test_the_script_is_hidden_inside_the_block_alone():
    main = sys.modules["__main__"].__dict__
    before = {name: main.get(name) for name in ("__file__", "__spec__")}
    with hide_main():
        assert "__file__" not in main
        assert main["__spec__"] is None
    assert {name: main.get(name) for name in before} == before


def test_ctrl_c_waits_while_processes_start_and_is_not_lost():
    handler = signal.getsignal(signal.SIGINT)
    block, steps = _interrupts_wait(), []
    block.__enter__()
    signal.raise_signal(signal.SIGINT)
    steps.append("after the signal")
    with pytest.raises(KeyboardInterrupt):
        block.__exit__(None, None, None)
    assert steps == ["after the signal"]
    assert signal.getsignal(signal.SIGINT) is handler


KILLER = """
import gymnasium, os, signal, sys
from gymnasium.spaces import Discrete

class Ending(gymnasium.Env):
    observation_space, action_space = Discrete(100), Discrete(2)
    def __init__(self, how="exit"):
        self.how, self.time = how, 0
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}
    def step(self, action):
        self.time += 1
        if self.time == 40 and self.how == "exit":
            sys.exit(0)
        if self.time == 40 and self.how == "code":
            os._exit(3)
        if self.time == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.time % 10, 1.0, self.time % 10 == 9, False, {}

gymnasium.register("Ending-v0", entry_point=Ending)
"""


@pytest.mark.parametrize(
    ("how", "fate"),
    [
        ("exit", "environment 0 of Ending-v0 called sys.exit(0); its code must raise an exception or end the episode"),
        ("code", "the process of environment 0 of Ending-v0 exited with code 3; its error is above"),
        ("kill", "the process of environment 0 of Ending-v0 was killed by SIGKILL; is there enough memory?"),
    ],
)
def test_a_process_that_ends_is_one_sentence_that_names_its_environment(tmp_path, monkeypatch, how, fate):
    (tmp_path / "ending.py").write_text(KILLER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ending", raising=False)
    config = Config(
        env_id="ending:Ending-v0", env_kwargs={"how": how}, vectorization="async", runs_dir=tmp_path, num_envs=1,
        num_steps=16, num_minibatches=1, total_timesteps=320, eval_episodes=0, checkpoint_every=1, compile="off",
    )  # fmt: skip
    trainer = Trainer(config)
    with pytest.raises(UsageError) as caught:
        trainer.train()
    trainer.envs.close()
    del gymnasium.registry["Ending-v0"]
    assert str(caught.value).startswith(fate)
    assert "Traceback" not in str(caught.value)
    assert read_checkpoint(trainer.run_dir / "checkpoints" / "latest.safetensors")[1]["iteration"] == 2


def test_too_few_file_handles_are_one_sentence_and_leave_no_process(monkeypatch):
    resource = pytest.importorskip("resource")
    before, children = resource.getrlimit(resource.RLIMIT_NOFILE), multiprocessing.active_children()
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 12, before[1]))
    try:
        with pytest.raises(
            UsageError, match="8 processes for environments cannot be started: Too many open files; use"
        ):
            make_envs("CartPole-v1", 8, "async")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert multiprocessing.active_children() == children


def running(pids: list[int]) -> list[int]:
    """Return those of the processes that still run."""
    stats = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, stat in stats if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_to_the_whole_group_ends_with_a_checkpoint_and_no_process_stays(tmp_path, number):
    sizes = ["--num-envs", "2", "--num-steps", "16", "--num-minibatches", "2", "--eval-episodes", "0"]
    command = [sys.executable, "-m", "ppo", "train", "CartPole-v1", "--vectorization", "async", "--compile", "off"]
    command += ["--total-timesteps", "90_000_000", "--checkpoint-every", "5", *sizes]
    log = tmp_path / "runs" / "CartPole-v1__ppo__s1" / "progress.csv"
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") > 10):
            time.sleep(0.05)
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        children = [int(pid) for task in tasks for pid in task.read_text().split()]
        assert len(children) >= 2
        (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
        out, err = process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while running(children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(children) == []
    if number == signal.SIGKILL:  # of the trainer alone
        assert process.returncode == -signal.SIGKILL
        assert "Traceback" not in err
    else:
        assert (process.returncode, err) == (0, "")
        assert "stopped at step" in out
    latest = read_checkpoint(log.parent / "checkpoints" / "latest.safetensors")[1]
    rows = log.read_text().splitlines()
    assert number == signal.SIGKILL or rows[-1].split(",")[0] == str(latest["iteration"])


def test_a_script_that_trains_at_its_top_level_is_not_run_again_by_its_workers(tmp_path):
    (tmp_path / "script.py").write_text(
        """
import gymnasium
from gymnasium.spaces import Discrete
from gymnasium.spaces import MultiBinary
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from ppo import Config, Trainer

class Mine(gymnasium.Env):
    observation_space, action_space = Discrete(10), Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 0
        return 0, {}
    def step(self, action):
        self.cell += 1
        return self.cell, 1.0, self.cell == 9, False, {}

gymnasium.register("Mine-v0", entry_point=Mine)
config = Config(env_id="Mine-v0", vectorization="async", total_timesteps=64, num_envs=2, num_steps=32)
trainer = Trainer(config)
print("trained once:", trainer.train())
trainer.envs.close()
"""
    )
    process = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert process.stdout.splitlines() == [f"trained once: {tmp_path}/runs/Mine-v0__ppo__s1"], process.stderr
