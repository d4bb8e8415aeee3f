"""Runs killed at random, checkpoints damaged at random, settings drawn at random: nothing is lost and nothing is a traceback.

`python -m pytest -m robustness -s` takes about 20 minutes and prints what it counted.
"""

import csv
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import typing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ppo import Config, NonFiniteError, Trainer, UsageError, evaluate, load_policy
from ppo.run import checkpoint as checkpoints

pytestmark = pytest.mark.robustness

MUTATIONS, CONFIGURATIONS = 500, 1000
SECONDS = 90  # after which a configuration counts as hung

# ---- kills ----------------------------------------------------------------------------------------------------------

SIZES = "--num-envs 2 --num-steps 64 --update-epochs 2 --num-minibatches 2 --eval-episodes 2 --checkpoint-every 3"
RUNS = {
    "mlp": "CartPole-v1 --total-timesteps 8000 --compile off",
    "gru": "CartPole-v1 --policy gru --total-timesteps 3000 --compile off",
    "text": "text/Copy-v0 --total-timesteps 1500 --compile off",
    "mujoco": "HalfCheetah-v5 --total-timesteps 5000 --env-kwargs max_episode_steps 100 --compile off",
    "async": "CartPole-v1 --vectorization async --total-timesteps 3000 --compile off",
    "compiled": "CartPole-v1 --total-timesteps 8000 --compile on",
}
SIGNALS = {
    "SIGKILL": lambda process: process.kill(),
    "SIGTERM to the group": lambda process: os.killpg(process.pid, signal.SIGTERM),
    "SIGINT to the group": lambda process: os.killpg(process.pid, signal.SIGINT),
}


def start(*words: str | Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    command = [sys.executable, "-m", "ppo", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a command that must succeed, and return what it printed."""
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, ""), err
    return out


def iterations(run: Path) -> list[int]:
    """Return the column `iteration` of a run's table."""
    with (run / "progress.csv").open(newline="") as file:
        return [int(row["iteration"]) for row in csv.DictReader(file)]


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """Return whether two checkpoints hold the same bits."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Killed:
    """A run that is killed again and again at random and resumed each time.

    Args:
        folder: for its runs.
        words: the command line's words after `ppo train`.
        seconds: the longest time to a kill.
        rng: draws the times.
    """

    def __init__(self, folder: Path, words: list[str], seconds: float, rng: random.Random) -> None:
        self.folder, self.words, self.seconds, self.rng = folder, words, seconds, rng
        self.counts: Counter[str] = Counter()

    def run(self) -> Path | None:
        """Return the newest folder, None if the run did not get that far."""
        folders = sorted(self.folder.glob("*__s1*"), key=lambda path: path.stat().st_mtime)
        return folders[-1] if folders and (folders[-1] / "checkpoints" / "latest.safetensors").exists() else None

    def finished(self) -> bool:
        """Return whether the run's latest checkpoint is its last."""
        run = self.run()
        if run is None:
            return False
        return bool(checkpoints.read_checkpoint(run / "checkpoints" / "latest.safetensors")[1]["finished"])

    def begin(self) -> subprocess.Popen[str]:
        """Start the run, or resume it."""
        run = self.run()
        return start("resume", run) if run else start("train", *self.words, "--runs-dir", self.folder)

    def kill(self, name: str) -> bool:
        """Begin, and kill; return whether the run has ended."""
        process = self.begin()
        time.sleep(self.rng.uniform(0, self.seconds))
        over = process.poll() is not None
        if not over:
            SIGNALS[name](process)
        out, err = process.communicate(timeout=120)
        # glfw, which MuJoCo imports, asks a child process for its version, which complains when its parent dies.
        assert "Traceback" not in (out + err).replace('Traceback (most recent call last):\n  File "<string>"', ""), err
        if over:
            assert process.returncode == 0, err
            return True
        self.counts[name] += 1
        if name != "SIGKILL":  # 130: before the run began; 0: it ended, or stopped with a checkpoint
            # or at its very end, when Python has given up its handlers
            assert process.returncode in (0, 130, -signal.SIGTERM, -signal.SIGINT), (process.returncode, out, err)
        if (run := self.run()) is not None:
            checkpoints.read_checkpoint(run / "checkpoints" / "latest.safetensors")  # whole
            leftovers = [path.name for path in run.rglob(".*") if path.is_file() and "lock" not in path.name]
            assert name == "SIGKILL" or not leftovers, leftovers
        return self.finished()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_at_random_ends_as_if_it_had_not_been(tmp_path, name):
    words, rng = f"{RUNS[name]} {SIZES}".split(), random.Random(name)
    begin = time.monotonic()
    finish(start("train", *words, "--runs-dir", tmp_path / "whole"))
    seconds = time.monotonic() - begin
    whole = next((tmp_path / "whole").iterdir())
    lines = []
    for number, kill in itertools.product(range(1, 4), SIGNALS):
        killed = Killed(tmp_path / f"{kill}{number}".replace(" ", "_"), words, seconds, rng)
        for _ in range(1 if number < 3 else 2):
            if killed.kill(kill):
                break
        while not killed.finished():
            finish(killed.begin())
        run = killed.run()
        assert run is not None
        assert iterations(run) == list(range(1, iterations(run)[-1] + 1))
        assert not [path for path in run.rglob(".*.safetensors*") if path.is_file()]
        if kill == "SIGKILL":  # a stop writes a checkpoint of its own, which cuts episodes elsewhere
            latest = (f / "checkpoints" / "latest.safetensors" for f in (run, whole))
            assert same(*map(load_file, latest))
            assert iterations(run) == iterations(whole)
        lines += [f"{count} x {kind}" for kind, count in killed.counts.items()]
    print(f"\n{name}: {', '.join(lines) or 'no kill came in time'}; all resumed to the end")


# ---- checkpoints ----------------------------------------------------------------------------------------------------

VALUES = [None, True, -1, 0, 1e300, 2**70, "", "x", "evil:X", "\x1b[31m", [], [1, [2]], {}, {"a": {}}, "9" * 5000]
DTYPES = [torch.bool, torch.float8_e4m3fn, torch.int64, torch.float64, torch.bfloat16]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every entry of nested JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, part in entries for p in [(*path, key), *paths(part, (*path, key))]]


def forge(tensors: dict[str, Tensor], meta: dict[str, Any], rng: random.Random) -> tuple[bytes, str]:
    """Return a checkpoint with a right checksum and a wrong entry, and what is wrong."""
    meta = json.loads(json.dumps(meta))
    tensors, name = dict(tensors), rng.choice(sorted(tensors))
    kind = rng.choice(["value", "value", "value", "absent", "unknown", "dtype", "shape", "numbers", "tensor"])
    if kind in ("value", "absent"):
        *path, last = rng.choice(paths(meta))
        place: Any = meta
        for key in path:
            place = place[key]
        if kind == "absent":
            del place[last]
        else:
            place[last] = rng.choice(VALUES)
        what = f"{kind} {(*path, last)}: {place[last] if kind == 'value' else ''!r}"
    elif kind == "unknown":
        rng.choice([meta, meta["config"], meta["spaces"]])["unknown"] = 1
        what = kind
    else:
        x = tensors.pop(name)
        if kind == "dtype":
            tensors[name] = x.to(rng.choice(DTYPES))
        elif kind == "shape":
            tensors[name] = rng.choice([x.flatten(), x.unsqueeze(0), torch.zeros(0), torch.cat([x.flatten()] * 2)])
        elif kind == "numbers" and x.is_floating_point():
            tensors[name] = torch.full_like(x, rng.choice([torch.nan, torch.inf, 1e30]))
        what = f"{kind} of {name}"
    text = json.dumps(meta)
    header = {"ppo": text, "sha256": checkpoints.digest_of(tensors, text)}
    return save(tensors, metadata=header), what


def damage(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return a file with flipped bytes, cut, doubled or emptied, and what was done."""
    kind = rng.choice(["flip", "flip", "cut", "add"])
    if kind == "flip":
        at, changed = rng.randrange(len(data)), bytearray(data)
        changed[at] ^= 1 << rng.randrange(8)
        return bytes(changed), f"bit of byte {at}"
    if kind == "cut":
        length = rng.randrange(len(data))
        return data[:length], f"cut to {length}"
    return data + rng.randbytes(rng.randrange(1, 100)), "added"


USES = {
    "load_policy": load_policy,
    "resume": lambda run: Trainer.resume(run).close(),
    "evaluate": lambda run: evaluate(run, 1, max_steps=20),
}


def test_a_damaged_or_forged_checkpoint_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "evil.py").write_text("raise SystemExit('a module that the checkpoint named was imported')")
    rng, outcomes, tracebacks = random.Random(0), Counter[str](), []
    sizes = {"num_envs": 2, "num_steps": 16, "num_minibatches": 2, "hidden_sizes": [4], "eval_episodes": 0}
    for number in range(MUTATIONS):
        if number % 100 == 0:  # of a Box with statistics, and of text
            env = [{"env_id": "Pendulum-v1", "normalize_obs": True, "scale_rewards": True}, {"env_id": "text/Copy-v0"}]
            settings = sizes | env[number // 100 % 2] | {"total_timesteps": 32, "exp_name": f"mutate{number}"}
            run = Trainer(Config().replace(settings | {"runs_dir": str(tmp_path)})).train()
            path = run / "checkpoints" / "latest.safetensors"
            data, (tensors, meta) = path.read_bytes(), checkpoints.read_checkpoint(path)
            del meta["sha256"], meta["signed"]
            tensors = {name: x.clone() for name, x in tensors.items()}  # which are still in the file
        changed, what = damage(data, rng) if number % 5 == 0 else forge(tensors, meta, rng)
        path.write_bytes(changed)
        for use, function in USES.items():
            try:
                function(run)
                outcomes["accepted"] += 1
            except (UsageError, NonFiniteError) as error:
                outcomes["one sentence"] += 1
                if "\n" in str(error):
                    tracebacks.append(f"{use}, {what}: not one line: {error!r}"[:300])
            except (Exception, SystemExit) as error:
                tracebacks.append(f"{use}, {what}: {type(error).__name__}: {error}"[:300])
    print(
        f"\n{MUTATIONS} checkpoints, each loaded, resumed and evaluated: {dict(outcomes)}, {len(tracebacks)} tracebacks"
    )
    assert not tracebacks, "\n".join(tracebacks)


# ---- configurations -------------------------------------------------------------------------------------------------

NUMBERS = [-1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 200, 10**11, 2**31, 2**63, 2**70]
REALS = [
    -1.0,
    0.0,
    1e-46,
    1e-8,
    1e-3,
    0.1,
    0.5,
    0.99,
    1.0,
    1.5,
    10.0,
    1e5,
    1e30,
    1e39,
    1e300,
    float("nan"),
    float("inf"),
]
NAMES = ["", "x", "a/b", "\x00", "no:Such", "probes:Probe", "é" * 300]
ENVS = ["CartPole-v1", "Pendulum-v1", "Taxi-v3", "Blackjack-v1", "text/Copy-v0", "probes:Sign-v0", "Nope-v0"]
FIXED = {"env_id", "env_kwargs", "eval_env_kwargs", "total_timesteps", "runs_dir", "compile", "vectorization"}
SMALL = {
    "eval_episodes": [0, 1, 3],
    "threads": ["auto", 1, 0],
    "group_size": [1, 2, 3, 4, 0],
    "checkpoint_every": [0, 1, 2],
    "update_epochs": [1, 2, 3, 0],
}


def draw(kind: Any, name: str, rng: random.Random) -> Any:
    """Return a JSON value of a setting's type, or of another."""
    if name in SMALL:
        return rng.choice(SMALL[name])
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return draw(args[0], name, rng)
    if origin is typing.Literal:
        return rng.choice([*args, *args, "x"])
    if origin is tuple:
        return [rng.choice([1, 4, 8, 8, 8, 0, 10**11]) for _ in range(rng.randrange(3))]
    if kind is bool:
        return rng.choice([True, False, True, False, 1])
    if kind in (int, float):
        usual = [1, 2, 4, 8] if kind is int else [0.1, 0.5, 1e-3, 1.0]
        return rng.choice(usual if rng.random() < 0.8 else NUMBERS if kind is int else REALS)
    return rng.choice(NAMES if kind is str else REALS)


def test_any_settings_train_or_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, outcomes, failures = random.Random(0), Counter[str](), []
    types = {field.name: field.type for field in dataclasses.fields(Config) if field.name not in FIXED}
    base = {"num_envs": 2, "num_steps": 8, "num_minibatches": 2, "hidden_sizes": [8], "compile": "off", "runs_dir": "runs",
            "eval_episodes": 1, "eval_max_steps": 50, "vectorization": "sync"}  # fmt: skip
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for number in range(CONFIGURATIONS):
        changes = {name: draw(types[name], name, rng) for name in rng.sample(sorted(types), rng.randrange(1, 6))}
        env = rng.choice(ENVS)
        settings = base | {"env_id": env, "total_timesteps": 64, "exp_name": f"c{number}"} | changes
        if env.startswith("text/"):
            settings |= {"vectorization": "auto"}
        before = set(Path.cwd().rglob("*"))
        signal.alarm(SECONDS)
        try:
            trainer = Trainer(Config().replace(settings))
            with trainer:
                trainer.train()
            outcomes["trained"] += 1
        except (UsageError, NonFiniteError) as error:
            outcomes["one sentence"] += 1
            new = set(Path.cwd().rglob("*")) - before
            if "\n" in str(error) or (isinstance(error, UsageError) and new):
                failures.append(f"{env} {changes}: left {new} and said {error!r}"[:400])
        except (Exception, KeyboardInterrupt) as error:
            failures.append(f"{env} {changes}: {type(error).__name__}: {error}"[:400])
    signal.alarm(0)
    print(f"\n{CONFIGURATIONS} configurations: {dict(outcomes)}, {len(failures)} failures")
    assert not failures, "\n".join(failures)
