"""What one process of `benchmarks.speed` measures: our training, or the environments alone."""

import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppo import Config, Trainer, make_envs, preset
from ppo.run.logger import Progress

WARMUP = 3  # rollouts of ours that are not timed
BOUND_SECONDS = 2.0  # of stepping the environments alone


@dataclass(frozen=True)
class Row:
    """One comparison: our settings, the peer's class, and how many rollouts are timed after the warm-up."""

    name: str
    settings: dict[str, Any]
    rollouts: int
    peer: str = "PPO"
    preset: bool = False  # the settings are changes to the preset, not to the defaults
    policy: dict[str, Any] = field(default_factory=dict)  # of the peer
    compile: str = "on"
    threads: int = 1  # of torch, for both libraries
    workers: bool = False  # the peer steps each environment in a process of its own

    @property
    def config(self) -> Config:
        """The settings of our run."""
        base = preset(self.settings["env_id"]) if self.preset else Config()
        return base.replace(self.settings)


def forget_peak() -> None:
    """Let the peak memory of this process count from here, on Linux."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # proc(5): resets VmHWM


def training_peak() -> dict[str, float]:
    """Return the peak memory of this process since `forget_peak`, in MiB; nothing where it cannot be measured."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return {"training_mib": int(peak[1]) / 1024} if peak else {}


def measure_ours(row: Row) -> dict[str, float]:
    """Train and return, after the warm-up, steps per second, the shares of the time and the peak memory."""
    times: list[tuple[float, int]] = []
    seconds: Counter[str] = Counter()

    def report(progress: Progress) -> None:
        if len(times) == WARMUP - 1:
            forget_peak()
        times.append((time.perf_counter(), progress.global_step))
        if len(times) > WARMUP:
            split = {tag: value for tag, value in progress.row.items() if tag.startswith("time/")}
            seconds.update({tag.removeprefix("time/"): value for tag, value in split.items()})

    with tempfile.TemporaryDirectory() as folder:
        config = row.config.replace(
            {"runs_dir": folder, "threads": row.threads, "compile": row.compile, "eval_episodes": 0}
        )
        total = config.batch_size * (row.rollouts + WARMUP)
        Trainer(config.replace({"total_timesteps": total, "checkpoint_every": 10**9, "anneal_lr": False})).train(report)
    (begin, first), (end, last) = times[WARMUP - 1], times[-1]
    shares = {name: value / (end - begin) for name, value in seconds.items()}
    return {"sps": (last - first) / (end - begin)} | shares | training_peak()


def measure_bound(row: Row) -> dict[str, float]:
    """Step the environments alone, with random actions drawn beforehand, and return their steps per second."""
    config = row.config
    envs = make_envs(config.env_id, config.num_envs, config.vectorization)
    envs.reset(seed=0)
    actions = [envs.action_space.sample() for _ in range(64)]
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < BOUND_SECONDS:
        for action in actions:
            envs.step(action)
        steps += len(actions) * config.num_envs
    return {"sps": steps / (time.perf_counter() - begin)}
