"""One command in two processes: how it ends, what is printed once, and that a killed rank costs nothing but time."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.distributed import HashStore

from ppo.cli import launch
from ppo.machine import agent
from ppo.run.checkpoint import read_checkpoint

ROOT = Path(__file__).parent.parent
KILL, TERMINATE, LOST = -9, -15, 75


@pytest.mark.parametrize(
    ("notes", "failures", "told", "code", "sentence"),
    [
        ({"done": ""}, {}, None, 0, ""),
        ({}, {}, None, 0, ""),
        ({"done": ""}, {}, signal.SIGINT, 0, ""),  # it stopped in order
        ({}, {}, signal.SIGINT, 130, "interrupted"),
        ({}, {}, signal.SIGTERM, 143, ""),
        ({"fault": "1 2"}, {0: LOST, 1: 2}, None, 2, ""),
        ({"fault": "1 1"}, {}, None, 1, ""),  # the rendezvous was closed to a restart
        ({"fault": "0 2"}, {}, signal.SIGTERM, 2, ""),
        ({}, {0: LOST, 1: KILL, 2: TERMINATE}, None, 137,
         "error: rank 1 was killed by SIGKILL (did memory run out? if so, use fewer processes or environments); start the command "
         "again"),
        ({}, {0: TERMINATE, 1: LOST}, None, 75, "error: rank 1 has lost another rank; start the command again"),
        ({}, {0: TERMINATE, 1: 3}, None, 3, "error: rank 1 ended with exit code 3 and no Python error; start the command again"),
        ({}, {0: TERMINATE}, None, 143, "error: rank 0 was killed by SIGTERM; start the command again"),
    ],
)  # fmt: skip
def test_a_run_ends_with_the_code_and_the_sentence_of_its_first_fault(notes, failures, told, code, sentence):
    store = HashStore()
    for key, value in notes.items():
        store.set(key, value)
    store.set(agent.LOSS, "rank 1 has lost another rank")
    assert launch.ending(store, failures, told, 0) == (code, sentence)


def test_the_sentence_of_a_killed_rank_says_how_to_go_on(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "latest.safetensors").touch()
    store = HashStore()
    store.set(agent.FOLDER, str(tmp_path))
    sentence = f"error: rank 0 was killed by SIGUSR1, after 2 restarts; continue with: ppo resume {tmp_path}"
    assert launch.ending(store, {0: -signal.SIGUSR1}, None, 2) == (128 + signal.SIGUSR1, sentence)


# ---- two ranks ------------------------------------------------------------------------------------------------------

SLOW = {"marks": pytest.mark.slow}  # one of each kind runs always
needs_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
SIZES = """--num-envs 4 --num-steps 32 --num-minibatches 2 --update-epochs 2 --hidden-sizes 8 --eval-episodes 0 --compile off
--vectorization sync --checkpoint-every 4 --device cpu"""
TRAIN = SIZES.split()
ENDLESS = ["--total-timesteps", "50_000_000"]
MODULE = """
import os, signal
import gymnasium, numpy as np
from gymnasium.spaces import Box, Discrete

class Faulty(gymnasium.Env):
    observation_space, action_space, steps = Box(-1, 1, (2,), np.float32), Discrete(2), 0

    def __init__(self, fault):
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        reward = 1.0
        if self.steps == 50 and os.environ["RANK"] == "1":
            if self.fault == "error":
                raise ValueError("the robot fell")
            if self.fault == "infinite":
                reward = float("inf")
            if self.fault == "stuck":
                open("stuck", "w").close()
                signal.pause()
        return np.zeros(2, np.float32), reward, self.steps % 10 == 0, False, {}

gymnasium.register("Faulty-v0", Faulty)
"""


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have started."""
    own = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and int((path / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                own.append(int(path.name))
    return [*own, *(child for one in own for child in children(one))]


def ranks(pid: int) -> dict[int, int]:
    """Return the process of each rank."""
    found = {}
    for child in children(pid):
        with contextlib.suppress(OSError):
            environment = dict(
                word.split("=", 1) for word in Path(f"/proc/{child}/environ").read_text().split("\0") if "=" in word
            )
            if "LOCAL_RANK" in environment and Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[
                1
            ] == str(pid):
                found[int(environment["RANK"])] = child
    return found


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a command; nothing that it starts outlives the test."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "faulty.py").write_text(MODULE)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it, and so would the command

    def start(*args: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *launcher, "-m", "ppo", *args]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    signal.signal(signal.SIGINT, before)
    for process in started:
        for pid in [*children(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def latest(tmp_path: Path, env: str = "CartPole-v1") -> Path:
    return tmp_path / "runs" / f"{env}__ppo__s1" / "checkpoints" / "latest.safetensors"


def same(path: Path, other: Path) -> bool:
    """Return whether two checkpoints hold the same bits."""
    first, second = read_checkpoint(path)[0], read_checkpoint(other)[0]
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def end(process: subprocess.Popen[str], pids: list[int]) -> tuple[int, str, str]:
    """Wait for the end of a command, and return its exit code and what it printed; no process of it is left."""
    out, err = process.communicate(timeout=120)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    return process.returncode, out, err


@pytest.mark.parametrize(
    "way",
    ["SIGINT", *(pytest.param(way, **SLOW) for way in ("SIGTERM", "SIGTERM to all", "SIGTERM to rank 1", "SIGKILL"))],
)
@needs_linux
def test_a_signal_stops_all_ranks_with_a_checkpoint(start, tmp_path, way):
    process = start("train", "CartPole-v1", *TRAIN, *ENDLESS, "--processes", "2")
    until(latest(tmp_path).exists)
    pids, own = children(process.pid), ranks(process.pid)
    assert len(own) == 2
    number = getattr(signal, way.split()[0])
    targets = {"SIGTERM to all": [process.pid, *own.values()], "SIGTERM to rank 1": [own[1]]}.get(way, [process.pid])
    for pid in targets:
        os.kill(pid, number)
    code, out, err = end(process, pids)
    assert (code, err) == (-9 if way == "SIGKILL" else 0, "")
    step = read_checkpoint(latest(tmp_path))[1]["global_step"]
    assert f"stopped at step {step:,}; continue with" in out.splitlines()[-1]
    assert out.count("settings") == 1


@pytest.mark.slow
@needs_linux
def test_a_second_interrupt_ends_ranks_that_do_not_stop(start, tmp_path):
    process = start("train", "faulty:Faulty-v0", *TRAIN, *ENDLESS, "--processes", "2", "--env-kwargs", "fault", "stuck")
    until((tmp_path / "stuck").exists)
    pids = children(process.pid)
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, _, err = end(process, pids)
    assert (code, err) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("env_id", "flags", "code", "lines", "text"),
    [
        pytest.param(
            "CartPole-v1", ["--env-kwargs", "nothing", "1"], 2, 1, "error: CartPole-v1 cannot be made with {'nothing': 1}", **SLOW,
        ),
        ("faulty:Faulty-v0", ["--env-kwargs", "fault", "infinite"], 1, 1, "stopped (rank 1): the reward of environment 2 at step 49"),
        pytest.param(
            "faulty:Faulty-v0", ["--env-kwargs", "fault", "error"], 1, None, "[rank1]: ValueError: the robot fell", **SLOW,
        ),
    ],
)  # fmt: skip
@needs_linux
def test_an_error_is_printed_once_and_not_repeated_by_a_restart(start, env_id, flags, code, lines, text):
    process = start("train", env_id, *TRAIN, *ENDLESS, "--processes", "2", *flags)
    returned, out, err = end(process, [])
    assert (returned, err.count(text)) == (code, 1), err
    assert lines is None or err.count("\n") == lines
    assert err.count("Traceback") == (lines is None)
    assert "restart" not in out


@pytest.mark.parametrize(
    "launcher", ["ppo", pytest.param("torchrun", **SLOW), pytest.param("torchrun with one rank", **SLOW)]
)
@needs_linux
def test_a_killed_rank_costs_only_time(start, tmp_path, launcher):
    budget = ["--total-timesteps", "6000"]
    number = 1 if "one" in launcher else 2
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}", "--max-restarts=3")
    words = [] if "torchrun" in launcher else ["--processes", "2"]
    process = start(
        "train", "CartPole-v1", *TRAIN, *budget, *words, launcher=torchrun if "torchrun" in launcher else ()
    )
    until(latest(tmp_path).exists)
    os.kill(ranks(process.pid)[number - 1], signal.SIGKILL)
    code, out, err = end(process, [])
    assert (code, out.count("restart  at step "), out.count("run folder")) == (0, 1, 1), err
    start(
        "train", "CartPole-v1", *TRAIN, *budget, "--exp-name", "whole", *(["--processes", "2"] if number > 1 else [])
    ).wait(120)
    assert same(latest(tmp_path), tmp_path / "runs" / "CartPole-v1__whole__s1" / "checkpoints" / "latest.safetensors")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "CartPole-v1__ppo__s1",
        "CartPole-v1__whole__s1",
    ]


@pytest.mark.slow
@needs_linux
def test_a_rank_that_dies_again_and_again_ends_the_run_with_one_sentence(start, tmp_path):
    process = start("train", "CartPole-v1", *TRAIN, *ENDLESS, "--processes", "2", "--max-restarts", "0")
    until(latest(tmp_path).exists)
    pids = children(process.pid)
    os.kill(ranks(process.pid)[1], signal.SIGKILL)
    code, _, err = end(process, pids)
    assert (code, err.count("\n")) == (137, 1)
    assert err.startswith("error: rank 1 was killed by SIGKILL")
    assert err.endswith("; continue with: ppo resume runs/CartPole-v1__ppo__s1\n")


@pytest.mark.robustness
@pytest.mark.parametrize(("policy", "steps"), [("mlp", "150_000"), ("gru", "60_000")])
@needs_linux
def test_30_kills_of_random_ranks_at_random_moments_cost_only_time(start, tmp_path, policy, steps):
    """Kills a rank every 3 to 10 s, 15 for each policy, while it starts, collects, updates, evaluates or saves."""
    rng, kills, budget = random.Random(1), 0, ["--total-timesteps", steps, "--policy", policy, "--processes", "2"]
    start("train", "CartPole-v1", *TRAIN, *budget, "--exp-name", "whole").wait(300)
    process = start("train", "CartPole-v1", *TRAIN, *budget, "--max-restarts", "1000")
    while kills < 15:
        time.sleep(rng.uniform(3, 10))
        if process.poll() is not None:
            break
        own = ranks(process.pid)
        if own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(own[rng.choice(sorted(own))], rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV]))
                kills += 1
    out, err = process.communicate(timeout=300)
    print(f"{policy}: {kills} kills, {out.count('restart  at step ')} restarts from a checkpoint")
    assert process.returncode == 0, err
    assert kills == 15
    assert same(latest(tmp_path), tmp_path / "runs" / "CartPole-v1__whole__s1" / "checkpoints" / "latest.safetensors")
