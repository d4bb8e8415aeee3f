"""The time from the command to the end of the first update, and to a perfect CartPole."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed_peer import EVALUATED_EVERY
from ppo import preset


def times(rounds: int, peers: bool) -> dict[str, list[float]]:
    """Return the seconds to the first update and to a perfect CartPole, measured in turn; a round is a seed."""
    solve_ours(1, "on")  # fills the cache of compiled functions
    measures = {
        "first update": first_update,
        "ours": lambda seed: solve_ours(seed, "off"),
        "ours, compiled": lambda seed: solve_ours(seed, "on"),
    }
    if peers:
        measures["peer"] = solve_peer
    results: dict[str, list[float]] = {name: [] for name in measures}
    for seed in range(1, rounds + 1):
        for name, seconds in measures.items():
            results[name].append(seconds(seed))
        print({name: round(values[-1], 2) for name, values in results.items()}, flush=True)
    return results


def first_update(seed: int) -> float:
    """Return the seconds from the command to the end of the first update, without compilation."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--total-timesteps", "256", "--eval-episodes", "0", "--compile", "off", "--seed", str(seed)]
        begin = _train(folder, arguments)
        return _events(folder, "losses/policy_loss")[0][0] - begin


def solve_ours(seed: int, compile: str) -> float:
    """Return the seconds from the command to the first evaluation in which CartPole's preset returned 500."""
    every = str(EVALUATED_EVERY // preset("CartPole-v1").batch_size)
    with tempfile.TemporaryDirectory() as folder:
        begin = _train(
            folder, ["--checkpoint-every", every, "--compile", compile, "--seed", str(seed), "--threads", "1"]
        )
        return next(when for when, value in _events(folder, "eval/episodic_return") if value >= 500) - begin


def _train(folder: str, arguments: list[str]) -> float:
    begin = time.time()
    command = [sys.executable, "-m", "ppo", "train", "CartPole-v1", "--runs-dir", folder, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return begin


def _events(folder: str, tag: str) -> list[tuple[float, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(Path(folder).iterdir())))
    events.Reload()
    return [(event.wall_time, event.value) for event in events.Scalars(tag)]


def solve_peer(seed: int) -> float:
    """Return the seconds from the command to the first evaluation in which the peer's tuned settings returned 500."""
    begin = time.time()
    command = [sys.executable, "-m", "benchmarks.speed_peer", str(seed)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1]) - begin
