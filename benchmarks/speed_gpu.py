"""What `benchmarks.speed run --device cuda` measures: rows on a GPU, with and without CUDA graphs, on the processor, and the peer."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs import today
from benchmarks.speed_loops import Row
from ppo.run.files import write_atomically

CONTROL = {"env_id": "CartPole-v1", "num_envs": 64, "num_steps": 128, "update_epochs": 4, "num_minibatches": 4}
IMAGES = CONTROL | {
    "env_id": "benchmarks.tasks:Images-v0",
    "policy": "cnn",
    "clip_coef": 0.1,
    "learning_rate": 2.5e-4,
}
ROWS = (
    Row("Pong, preset 8 × 128, CNN", {"env_id": "PongNoFrameskip-v4", "policy": "cnn"}, 6, preset=True, threads=8),
    Row("Images of 84 × 84 × 4, CNN 64 × 128", IMAGES, 2, threads=8),
    Row("CartPole 64 × 128, MLP", CONTROL, 5),
    Row("HalfCheetah, preset 8 × 256", {"env_id": "HalfCheetah-v5"}, 2, preset=True),
)


def sides_of(row: Row, peers: bool, device: str = "cuda") -> dict[str, tuple[str, Row]]:
    """Return the measurements of a row by the heading of their column: the side, as in `benchmarks.speed`, and the settings."""
    on_device = replace(row, settings=row.settings | {"device": device})
    sides = {
        "CUDA graphs": ("ours", on_device),
        "eager": ("ours", replace(on_device, compile="off")),
        "processor": ("ours", replace(row, settings=row.settings | {"device": "cpu"})),
    }
    return sides | ({"peer": ("peer", on_device)} if peers else {})


def measure(
    path: Path, rounds: int, peers: bool, spawn: Callable[[str, Row], dict[str, float]], about: dict[str, Any]
) -> None:
    """Measure each row's sides in turn, and write and print their steps per second; each row is written when it is measured.

    Args:
        path: of the figures.
        rounds: of each side.
        peers: whether the peer is installed.
        spawn: measures a side of a row in a process of its own.
        about: the machine, the packages, the command.
    """
    if not torch.cuda.is_available():
        print(
            "--device cuda needs a CUDA device, but torch finds none; run it on a machine with a GPU", file=sys.stderr
        )
        sys.exit(2)
    results: dict[str, Any] = about | {"date": today(), "card": torch.cuda.get_device_name(), "rows": {}}
    for row in ROWS:
        rates: dict[str, list[float]] = {name: [] for name in sides_of(row, peers)}
        for _ in range(rounds):
            for name, (side, changed) in sides_of(row, peers).items():
                rates[name].append(spawn(side, changed)["sps"])
        results["rows"][row.name] = rates
        write_atomically(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
        medians = ", ".join(f"{name} {sorted(values)[len(values) // 2]:,.0f}" for name, values in rates.items())
        print(f"{results['card']}, {row.name}: {medians} steps per second", flush=True)
