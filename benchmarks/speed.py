"""Measure environment steps per second of the whole training loop, ours against Stable-Baselines3 and sb3-contrib.

    pip install -e ".[peers,compare,mujoco]"
    python -m benchmarks.speed run --rounds 5

One process at a time, one thread, the same hyperparameters on both sides, in turn: A B A B …; a figure is the median of
the rounds, a ratio the quotient of two medians. What one side needs before its first rollout (imports, compilation) and
the first rollouts themselves do not count towards steps per second; two rows of their own count them: the time from
the command to the first update, and to a perfect CartPole. Ours writes its logs as always, the peers write none.
"""

import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

RESULTS = Path(__file__).parent / "results"
CARTPOLE = {"env_id": "CartPole-v1", "num_envs": 4, "num_steps": 128, "update_epochs": 4, "num_minibatches": 4}
CHEETAH = {
    "env_id": "HalfCheetah-v5", "num_envs": 1, "num_steps": 2048, "update_epochs": 10, "num_minibatches": 32,
    "normalize_obs": True, "scale_rewards": True,
}  # fmt: skip
EVALUATED_EVERY = 8192  # steps between evaluations on the way to a perfect CartPole, two episodes of each environment


@dataclass(frozen=True)
class Row:
    """One comparison: our settings, the peer's class, and how many rollouts are timed after the warm-up."""

    name: str
    settings: dict[str, Any]
    rollouts: int
    peer: str = "PPO"
    must: str = ""
    preset: bool = False  # the settings are changes to the preset, not to the defaults
    policy: dict[str, Any] = field(default_factory=dict)  # of the peer


ROWS = {
    row.name: row
    for row in (
        Row("CartPole 4 × 128", CARTPOLE, 60, must="≥ 4"),
        Row("HalfCheetah 1 × 2048", CHEETAH, 5, must="≥ 4"),
        Row("HalfCheetah, preset 8 × 256", {"env_id": "HalfCheetah-v5"}, 5, must="≥ 5", preset=True),
        Row("CartPole, preset", {"env_id": "CartPole-v1"}, 60, preset=True),
        Row("CartPole 8 × 128, MLP", CARTPOLE | {"num_envs": 8}, 30),
        Row("CartPole 8 × 128, GRU", CARTPOLE | {"num_envs": 8, "policy": "gru"}, 15, "RecurrentPPO", "≥ 10",
            policy={"lstm_hidden_size": 64}),
    )
}  # fmt: skip


def measure_ours(row: Row, compile: str) -> dict[str, float]:
    """Train and return steps per second after the warm-up, and the shares of the time."""
    from ppo import Config, Trainer, preset

    base = preset(row.settings["env_id"])[1] if row.preset else Config()
    warmup = 3
    with tempfile.TemporaryDirectory() as folder:
        config = base.replace(row.settings | {"runs_dir": folder, "threads": 1, "compile": compile, "eval_episodes": 0})
        total = config.batch_size * (row.rollouts + warmup)
        trainer = Trainer(config.replace({"total_timesteps": total, "checkpoint_every": 10**9, "anneal_lr": False}))
        times, split = [], dict.fromkeys(trainer.seconds, 0.0)

        def report(progress: Any) -> None:
            times.append((time.perf_counter(), progress.global_step))
            if len(times) > warmup:
                for name in split:
                    split[name] += progress.row[f"time/{name}"]

        trainer.train(report)
    (begin, first), (end, last) = times[warmup - 1], times[-1]
    return {"sps": (last - first) / (end - begin)} | {name: part / (end - begin) for name, part in split.items()}


def measure_peer(row: Row, compile: str) -> dict[str, float]:
    """Train the peer with the same hyperparameters and return its steps per second."""
    import sb3_contrib
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    from ppo import Config, preset

    torch.set_num_threads(1)
    config = (preset(row.settings["env_id"])[1] if row.preset else Config()).replace(row.settings)
    kind = {"PPO": stable_baselines3.PPO, "RecurrentPPO": sb3_contrib.RecurrentPPO}[row.peer]
    name = {"PPO": "MlpPolicy", "RecurrentPPO": "MlpLstmPolicy"}[row.peer]
    envs = make_vec_env(config.env_id, config.num_envs)
    if config.normalize_obs:
        envs = VecNormalize(envs, gamma=config.gamma)
    size = config.batch_size // config.num_minibatches
    model = kind(
        name, envs, config.learning_rate, config.num_steps, size, config.update_epochs, config.gamma,
        config.gae_lambda, config.clip_coef, ent_coef=config.ent_coef, vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm, normalize_advantage=config.norm_adv, device="cpu", policy_kwargs=row.policy,
    )  # fmt: skip
    model.learn(config.batch_size)
    steps, begin = config.batch_size * row.rollouts, time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    return {"sps": steps / (time.perf_counter() - begin)}


def measure_bound(row: Row, compile: str) -> dict[str, float]:
    """Step the environments alone, with random actions drawn beforehand."""
    from ppo import Config, make_envs, preset

    config = (preset(row.settings["env_id"])[1] if row.preset else Config()).replace(row.settings)
    envs = make_envs(config.env_id, config.num_envs, config.vectorization)
    envs.reset(seed=0)
    actions = [envs.action_space.sample() for _ in range(64)]
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < 2:
        for action in actions:
            envs.step(action)
        steps += len(actions) * config.num_envs
    return {"sps": steps / (time.perf_counter() - begin)}


def measure_scale(num_envs: int, num_steps: int) -> dict[str, float]:
    """Train CartPole with N environments and return steps per second and the process's peak memory in MiB."""
    rollouts = max(3, 40_000 // (num_envs * num_steps))
    row = Row("", CARTPOLE | {"num_envs": num_envs, "num_steps": num_steps}, rollouts)
    found = measure_ours(row, "on")
    return found | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def first_update(seed: int) -> float:
    """Return the seconds from the command to the end of the first update, without compilation."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--total-timesteps", "256", "--eval-episodes", "0", "--compile", "off", "--seed", str(seed)]
        begin = _train(folder, arguments)
        return _events(folder, "losses/policy_loss")[0][0] - begin


def solve_ours(seed: int, compile: str) -> float:
    """Return the seconds from the command to the first evaluation in which CartPole's preset returned 500."""
    from ppo import preset

    with tempfile.TemporaryDirectory() as folder:
        every = str(EVALUATED_EVERY // preset("CartPole-v1")[1].batch_size)
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


def solve_peer(seed: int, compile: str) -> float:
    """Return the seconds from the command to the first evaluation in which the peer's tuned settings returned 500."""
    begin = time.time()
    out = subprocess.run([sys.executable, "-m", "benchmarks.speed", "peer-solves", "--seed", str(seed)], check=True,
                         capture_output=True, text=True)  # fmt: skip
    return float(out.stdout.split()[-1]) - begin


def peer_solves(seed: int) -> None:
    """Train Stable-Baselines3 with its tuned settings and print the time of the first evaluation that returned 500."""
    import torch

    torch.set_num_threads(1)
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
    from stable_baselines3.common.env_util import make_vec_env

    envs, others = make_vec_env("CartPole-v1", 8, seed=seed), make_vec_env("CartPole-v1", 8, seed=seed + 1_000_003)
    stop = StopTrainingOnRewardThreshold(499.9)
    model = PPO(
        "MlpPolicy", envs, n_steps=32, batch_size=256, n_epochs=20, gamma=0.98, gae_lambda=0.8, device="cpu", seed=seed,
        learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left,
    )  # fmt: skip
    model.learn(100_000, EvalCallback(others, stop, n_eval_episodes=10, eval_freq=EVALUATED_EVERY // 8, verbose=0))
    assert model.num_timesteps < 100_000, "the peer did not reach 500"
    print(time.time())


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "ours": measure_ours, "peer": measure_peer, "bound": measure_bound,
}  # fmt: skip


def measure(side: str, row: str, compile: str = "on", num_envs: int = 0, num_steps: int = 128) -> None:
    """Measure one side of one row once, in this process, and print it as JSON."""
    found = measure_scale(num_envs, num_steps) if num_envs else MEASURES[side](ROWS[row], compile)
    print(json.dumps(found))


def _spawn(*arguments: str) -> dict[str, float]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "benchmarks.speed", "measure", *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(out.stdout.splitlines()[-1])


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def compare(rounds: int, only: str) -> dict[str, Any]:
    """Measure all rows, ours and the peer's in turn, and return the medians by row and side."""
    found: dict[str, Any] = {}
    for name in (name for name in ROWS if only in name):
        sides: dict[str, list[dict[str, float]]] = {"ours": [], "peer": [], "eager": [], "bound": []}
        for _ in range(rounds):
            for side in ("ours", "peer", "eager", "bound"):
                arguments = ["ours", name, "--compile", "off"] if side == "eager" else [side, name]
                sides[side].append(_spawn("--side", arguments[0], "--row", arguments[1], *arguments[2:]))
                print(f"{name}, {side}: {sides[side][-1]['sps']:,.0f}", flush=True)
        found[name] = {side: _medians(values) | {"all": [v["sps"] for v in values]} for side, values in sides.items()}
    return found


def scale() -> dict[str, dict[str, float]]:
    """Measure CartPole at 1 to 512 environments, and at longer rollouts."""
    sizes = [(n, 128) for n in (1, 8, 64, 512)] + [(64, 1024), (512, 1024)]
    found = {}
    for n, steps in sizes:
        arguments = ["--side", "ours", "--row", "", "--num-envs", str(n), "--num-steps", str(steps)]
        found[f"{n} × {steps}"] = _spawn(*arguments)
        print(f"{n} × {steps}: {found[f'{n} × {steps}']}", flush=True)
    return found


def times(rounds: int) -> dict[str, list[float]]:
    """Measure the time to the first update, and to a perfect CartPole, in turn; a round is a seed."""
    found: dict[str, list[float]] = {"first update": [], "ours": [], "ours, compiled": [], "peer": []}
    solve_ours(1, "on")  # so that the compiled functions are in the cache
    for seed in range(1, rounds + 1):
        found["first update"].append(first_update(seed))
        found["ours"].append(solve_ours(seed, "off"))
        found["ours, compiled"].append(solve_ours(seed, "on"))
        found["peer"].append(solve_peer(seed, ""))
        print({name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    return found


def run(rounds: int = 5, only: str = "") -> None:
    """Measure everything and write the table, the numbers and the chart to benchmarks/results/.

    Args:
        rounds: of each comparison.
        only: part of the names of the rows to measure, "times", "scale" or "text"; empty: everything.
    """
    from benchmarks.speed_report import write
    from benchmarks.speed_text import tokens_per_second

    packages = ("torch", "numpy", "gymnasium", "mujoco", "stable-baselines3", "sb3-contrib")
    versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
    path = RESULTS / "speed.json"
    found = json.loads(path.read_text()) if path.is_file() else {"rows": {}}
    found["rows"] |= compare(rounds, only)
    if only in "times":
        found["times"] = times(rounds)
    if only in "scale":
        found["scale"] = scale()
    if only in "text":
        found["text"] = tokens_per_second(rounds)
    found |= {
        "date": datetime.date.today().isoformat(), "machine": _machine(), "versions": versions,
        "command": f"python -m benchmarks.speed run --rounds {rounds}",
    }  # fmt: skip
    write(found, [(row.name, row.must) for row in ROWS.values()])


def _machine() -> str:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{len(models)} × {models[0]}, {platform.system()}"


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "measure": measure, "peer-solves": peer_solves})
