"""Measure what several ranks gain, here and by a model of more ranks and of networks, and whether they learn as one.

    pip install -e ".[peers,mujoco,box2d]"
    python -m benchmarks.scaling run --rounds 5
    python -m benchmarks.scaling report      # the page again, without measuring

Each part is written to scaling.json as soon as it is measured, and is not measured again while the code, the packages, the
machine and the numbers of the command stay the same. The networks need root and iproute2; without them they are skipped.

A rank has one thread. The sides of a comparison take turns; a figure is the median of the rounds. Steps per second follow from the
clock between iterations, logs and waiting included, after the compilation and the first three iterations.
"""

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from benchmarks import pages, scaling_learning, scaling_model, scaling_network
from benchmarks.runs import RESULTS, digest, installed, text_of, today
from benchmarks.scaling_rows import ROOT, ROWS, compare, own_rate, result, start
from benchmarks.speed import PACKAGES, PEERS, machine_name
from benchmarks.speed import ROWS as SPEED_ROWS
from benchmarks.speed_peer import measure_peer
from benchmarks.speed_times import solve_ours, solve_peer
from ppo.run.files import write_atomically

CHEETAH = "HalfCheetah-v5, preset"
SIDES = {  # of the peer: torch's threads, and whether each environment has a process
    "DummyVecEnv, 1 thread": (1, False), "DummyVecEnv, 2 threads": (2, False),
    "SubprocVecEnv, 1 thread": (1, True), "SubprocVecEnv, 2 threads": (2, True),
}  # fmt: skip
NETWORKS = {"loopback": 0.0, "0.1 ms": 0.1, "1 ms": 1.0}  # latency in one direction, ms


def peer(side: str, rollouts: int) -> None:
    """Train HalfCheetah with the peer once, in this process, and print its steps per second.

    Args:
        side: one of SIDES.
        rollouts: to time.
    """
    threads, workers = SIDES[side]
    row = replace(SPEED_ROWS["HalfCheetah, preset 8 × 256"], rollouts=rollouts, threads=threads, workers=workers)
    print(measure_peer(row)["sps"])


def peers(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return steps per second of HalfCheetah with both cores: two ranks of ours, and each side of the peer, in turn."""
    rates: dict[str, list[float]] = {"ours": [], **{side: [] for side in SIDES}}
    result(start(ROWS[CHEETAH], 2, 0))  # fills the cache of compiled functions
    for _ in range(rounds):
        rates["ours"].append(own_rate(result(start(ROWS[CHEETAH], 2, seconds))))
        for side, (threads, _) in SIDES.items():
            words = ["peer", "--side", side, "--rollouts", str(max(1, round(seconds)))]
            command = [sys.executable, "-m", "benchmarks.scaling", *words]
            environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
            rates[side].append(float(done.stdout.split()[-1]))
        print(", ".join(f"{side} {values[-1]:,.0f}" for side, values in rates.items()), flush=True)
    return rates


def times(rounds: int, peers: bool) -> dict[str, list[float]]:
    """Return the seconds from the command to a perfect CartPole, with an empty cache; a round is a seed."""
    seconds: dict[str, list[float]] = {"ours": [], **({"peer": []} if peers else {})}
    before = os.environ.get("PPO_CACHE")
    for seed in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["PPO_CACHE"] = cache
            seconds["ours"].append(solve_ours(seed, "auto"))
        if peers:
            seconds["peer"].append(solve_peer(seed))
        print({name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
    os.environ.pop("PPO_CACHE")
    os.environ |= {"PPO_CACHE": before} if before else {}
    return seconds


def network(delay: float, ranks: int) -> list[scaling_network.Point] | str:
    """Return the measurements of a network, or a sentence that says why it cannot be made here."""
    try:
        return scaling_network.measure(ranks, delay)
    except OSError as error:
        print(f"The networks with a latency are skipped: {error}")
        return str(error)


def parts_of(rounds: int, seconds: float, ranks: int, peer_installed: bool) -> dict[tuple[str, str], Callable[[], Any]]:
    """Return the function that measures each part, by the place of its figures in scaling.json."""
    parts: dict[tuple[str, str], Callable[[], Any]] = {
        ("rows", name): partial(compare, row, rounds, seconds) for name, row in ROWS.items()
    }
    if peer_installed:
        parts["other", "peers"] = partial(peers, rounds, seconds)
    parts["other", "times"] = partial(times, rounds, peer_installed)
    parts |= {("networks", name): partial(network, delay, ranks) for name, delay in NETWORKS.items()}
    for env_id in scaling_learning.TASKS:
        for seed in scaling_learning.SEEDS:
            parts["learning", f"{env_id}, seed {seed}"] = partial(scaling_learning.compare, env_id, seed)
    return parts


def run(rounds: int = 5, seconds: float = 10.0, ranks: int = 8, only: str = "", again: bool = False) -> None:
    """Measure everything, and write the figures and the page.

    Args:
        rounds: rounds of each comparison.
        seconds: of training that count in a measurement.
        ranks: the most ranks of a network.
        only: measure only the parts whose place in scaling.json contains this, as in "rows/Humanoid", "other/times",
            "networks" or "learning". Empty: everything.
        again: measure every part again.
    """
    versions = installed(*PACKAGES) | {"python": platform.python_version()}
    if not versions.keys() >= PEERS:
        print('The peers are not installed, so only ours is measured; pip install -e ".[peers]" adds them.')
    path, machine = RESULTS / "scaling.json", machine_name()
    numbers = {"rounds": rounds, "seconds": seconds, "ranks": ranks, "machine": machine, "versions": versions}
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"measured": {}}
    for (kind, name), part in parts_of(rounds, seconds, ranks, versions.keys() >= PEERS).items():
        stamp = fingerprint(kind, name, numbers)
        if only not in f"{kind}/{name}" or (results["measured"].get(f"{kind}/{name}") == stamp and not again):
            continue
        results.setdefault(kind, {})[name] = part()
        results["measured"][f"{kind}/{name}"] = stamp
        results |= {
            "date": today(), "machine": machine, "versions": text_of(versions),
            "command": f"python -m benchmarks.scaling run --rounds {rounds} --seconds {seconds:g} --ranks {ranks}",
        }  # fmt: skip
        save(path, results)
    report()


def save(path: Path, results: dict[str, Any]) -> None:
    """Write the figures, together with what follows from them."""
    text = json.dumps(results | {"derived": derive(results)}, indent=1, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())


def derive(results: dict[str, Any]) -> dict[str, Any]:
    """Return what follows from the figures: speedups, lines through the exchanges, and the ranks that pay."""
    rows, both = results.get("rows", {}), results.get("other", {}).get("peers", {})
    measured = {name: points for name, points in results.get("networks", {}).items() if not isinstance(points, str)}
    fits = {name: scaling_model.fits([list(point) for point in points]) for name, points in measured.items()}
    medians = {side: statistics.median(rates) for side, rates in both.items()}
    best = max((side for side in medians if side != "ours"), key=lambda side: medians[side], default="")
    return {
        "rows": {name: scaling_model.summary(row) for name, row in rows.items()},
        "fits": {
            name: {e: {w: f._asdict() for w, f in by.items()} for e, by in own.items()} for name, own in fits.items()
        },
        "worth": {
            name: {place: scaling_model.worth(row, own) for place, own in fits.items()} for name, row in rows.items()
        },
        "peers": {"best": best, "ratio": medians["ours"] / medians[best]} if best else {},
    }


def report() -> None:
    """Write what follows from the figures in scaling.json, and the pages, without measuring."""
    path = RESULTS / "scaling.json"
    save(path, json.loads(path.read_text()))
    pages.write()


def fingerprint(kind: str, name: str, numbers: dict[str, Any]) -> str:
    """Return eight characters for all that a figure depends on.

    A run of the learning grid depends on its settings, a network on nothing of `ppo`, the rest on all its code.
    """
    if kind == "learning":
        env_id, _, seed = name.rpartition(", seed ")
        return digest(scaling_learning.config_of(env_id, int(seed)))
    folder = ROOT / "benchmarks"
    if kind == "networks":
        files = [folder / "scaling_network.py", folder / "scaling_links.py"]
        numbers = {key: numbers[key] for key in ("ranks", "machine")}
    else:
        files = [folder / "scaling_rows.py", *sorted((ROOT / "ppo").rglob("*.py"))]
        numbers = {key: value for key, value in numbers.items() if key != "ranks"}
    code = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode() + code).hexdigest()[:8]


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "report": report, "peer": peer})
