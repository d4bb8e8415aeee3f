"""Measure environment steps per second of the whole training loop, ours against Stable-Baselines3 and sb3-contrib.

    pip install -e ".[peers,compare,mujoco,atari]"
    python -m benchmarks.speed run --rounds 5
    python -m benchmarks.speed report      # draw the charts again from speed.json, without measuring
    python -m benchmarks.speed run --device cuda   # a GPU, into speed_cuda.json

One process at a time, one thread, the same hyperparameters for both libraries, in turn: A B A B …; a figure is the median of
the rounds, a ratio the quotient of two medians. Imports, compilation and the first rollouts do not count towards steps per
second; two rows of their own count them: the time from the command to the first update, and to a perfect CartPole.
Ours writes its logs as always, the peers write none.
"""

import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks import pages, speed_gpu
from benchmarks.pages import PAGES
from benchmarks.runs import RESULTS, installed, text_of, today
from benchmarks.speed_loops import Row, measure_bound, measure_ours
from benchmarks.speed_peer import measure_peer
from benchmarks.speed_report import chart, small_chart
from benchmarks.speed_text import tokens_per_second
from benchmarks.speed_times import times
from benchmarks.suites import SPEED
from ppo.run.files import write_atomically

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "stable-baselines3", "sb3-contrib")
PEERS = {"stable-baselines3", "sb3-contrib"}
CARTPOLE = {"env_id": "CartPole-v1", "num_envs": 4, "num_steps": 128, "update_epochs": 4, "num_minibatches": 4}
CHEETAH = {
    "env_id": "HalfCheetah-v5", "num_envs": 1, "num_steps": 2048, "update_epochs": 10, "num_minibatches": 32,
    "normalize_obs": True, "scale_rewards": True,
}  # fmt: skip
PONG = {"env_id": "PongNoFrameskip-v4", "policy": "cnn"}
ROWS = {
    row.name: row
    for row in (
        Row("CartPole 4 × 128", CARTPOLE, 60),
        Row("HalfCheetah 1 × 2048", CHEETAH, 5),
        Row("HalfCheetah, preset 8 × 256", {"env_id": "HalfCheetah-v5"}, 5, preset=True),
        Row("CartPole, preset", {"env_id": "CartPole-v1"}, 60, preset=True),
        Row("CartPole 8 × 128, MLP", CARTPOLE | {"num_envs": 8}, 30),
        Row("CartPole 8 × 128, GRU", CARTPOLE | {"num_envs": 8, "policy": "gru"}, 15, "RecurrentPPO",
            policy={"lstm_hidden_size": 64}),
        Row("Pong 8 × 128, CNN, 2 threads", PONG, 5, preset=True, threads=2),
        Row("Pong, 2 threads, ours in bfloat16", PONG | {"precision": "bfloat16"}, 5, preset=True, threads=2),
    )
}  # fmt: skip
MEASURES = {"ours": measure_ours, "peer": measure_peer, "bound": measure_bound}
SIZES = ((1, 128), (8, 128), (64, 128), (512, 128), (64, 1024), (512, 1024))  # (N, T) of CartPole


def measure(side: str, row: str) -> None:
    """Measure one side of a row once, in this process, and print the figures as JSON.

    Args:
        side: ours, peer or bound.
        row: the row as JSON.
    """
    print(json.dumps(MEASURES[side](Row(**json.loads(row))) | {"peak_mib": peak_mib()}))


def peak_mib() -> float:
    """Return the peak memory of this process and of the largest one that it has started, in MiB."""
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def spawn(side: str, row: Row) -> dict[str, float]:
    """Return what `measure` prints in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(row.threads), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "benchmarks.speed", "measure", "--side", side, "--row", json.dumps(asdict(row))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT).stdout
    return json.loads(output.splitlines()[-1])


def compare(row: Row, rounds: int, peers: bool) -> dict[str, Any]:
    """Return the medians of each side of a row, measured in turn; `eager` is ours without compilation."""
    sides = {"ours": row, "peer": row, "eager": replace(row, compile="off"), "bound": row}
    if not peers:
        del sides["peer"]
    results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, changed in sides.items():
            results[side].append(spawn("ours" if side == "eager" else side, changed))
            print(f"{row.name}, {side}: {results[side][-1]['sps']:,.0f}", flush=True)
    return {side: _medians(values) | {"all": [v["sps"] for v in values]} for side, values in results.items()}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def scale() -> dict[str, dict[str, float]]:
    """Return steps per second and peak memory of CartPole by the number of environments and the length of the rollout."""
    results = {}
    for n, steps in SIZES:
        row = Row("", CARTPOLE | {"num_envs": n, "num_steps": steps}, max(3, 40_000 // (n * steps)))
        results[f"{n} × {steps}"] = spawn("ours", row)
        print(f"{n} × {steps}: {results[f'{n} × {steps}']}", flush=True)
    return results


def run(rounds: int = 5, only: str = "", again: bool = False, device: Literal["cpu", "cuda"] = "cpu") -> None:
    """Measure everything, and write the numbers, the charts and the page.

    Each part is written to speed.json as soon as it is measured. A part is not measured again while the code, the
    packages, the machine and the number of rounds stay the same.

    Args:
        rounds: rounds of each comparison.
        only: measure only the rows whose name contains this; "times", "scale" and "text" are names too. Empty: everything.
        again: measure every part again.
        device: cuda measures the rows of `benchmarks.speed_gpu` instead.
    """
    versions = installed(*PACKAGES) | {"python": platform.python_version()}
    peers = versions.keys() >= PEERS
    if not peers:
        print('The peers are not installed, so only ours is measured; pip install -e ".[peers]" adds them.')
    if device == "cuda":
        about = {"machine": machine_name(), "versions": text_of(versions)}
        about["command"] = f"python -m benchmarks.speed run --device cuda --rounds {rounds}"
        speed_gpu.measure(RESULTS / "speed_cuda.json", rounds, peers, spawn, about)
        return
    parts: dict[str, Callable[[], Any]] = {name: partial(compare, row, rounds, peers) for name, row in ROWS.items()}
    parts |= {"times": partial(times, rounds, peers), "scale": scale, "text": partial(tokens_per_second, rounds)}
    path, machine = RESULTS / "speed.json", machine_name()
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    results = {"rows": {}, "measured": {}, "made_on": {}} | results
    stamp = fingerprint(rounds, machine, versions)
    for name, part in parts.items():
        if only not in name or (results["measured"].get(name) == stamp and not again):
            continue
        (results["rows"] if name in ROWS else results)[name] = part()
        results["measured"][name], results["made_on"][name] = stamp, f"{machine}, {today()}"
        results |= {
            "date": today(),
            "versions": text_of(versions),
            "command": f"python -m benchmarks.speed run --rounds {rounds}",
        }  # fmt: skip
        write_atomically(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    report()


def report() -> None:
    """Draw the charts from the numbers in speed.json and write the pages, without measuring."""
    measured = json.loads((RESULTS / "speed.json").read_text())["rows"]
    rows = {name: measured[name] for name in ROWS if name in measured}
    chart(rows, PAGES / "speed.png")
    small_chart({name: sides for name, sides in rows.items() if name in SPEED}, PAGES / "speed_bars.png")
    pages.write()


def fingerprint(rounds: int, machine: str, versions: dict[str, str]) -> str:
    """Return eight characters for all that a figure depends on: the code, the packages, the machine, the rounds."""
    files = [*sorted((ROOT / "ppo").rglob("*.py")), *sorted((ROOT / "benchmarks").glob("speed*.py"))]
    code = [path.read_bytes() for path in files]
    settings = json.dumps([rounds, machine, versions], sort_keys=True).encode()
    return hashlib.sha256(b"".join([settings, *code])).hexdigest()[:8]


def machine_name() -> str:
    """Return the number and the model of the processor's cores, and the operating system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line] or [platform.processor()]
    return f"{os.cpu_count()} × {models[0]}, {platform.system()}"


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "report": report, "measure": measure})
