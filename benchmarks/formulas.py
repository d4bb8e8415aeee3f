"""Recovery of formulas of the Nguyen benchmark: risk-seeking, REINFORCE and PPO on text/Formulas-v0.

    python -m benchmarks.formulas

A run ends when it has written the formula, or at its budget. The published figures (Petersen et al. 2021, Table 1) are of
100 seeds with up to 2 million expressions each.
"""

import csv
import json
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import pages
from benchmarks.runs import RESULTS, fill, finish
from ppo import Config, preset
from ppo.text import Completion
from ppo.text.tasks.formulas import formulas

ENV = "text/Formulas-v0"
FORMULAS = (1, 2, 4, 6, 9)
PLAIN = {"risk_quantile": 0.0, "norm_adv": True, "vf_coef": 0.5, "num_steps": 64}
METHODS: dict[str, dict[str, Any]] = {  # by name, what each changes in the preset
    "risk-seeking": {},
    "REINFORCE": PLAIN | {"algorithm": "reinforce", "baseline": False, "gae_lambda": 1.0, "learning_rate": 1e-3},
    "PPO": PLAIN | {"update_epochs": 4, "num_minibatches": 4, "learning_rate": 1e-3},
}
STEPS = 3_000_000  # tokens, at most
EXACT = 1 - 1e-9  # the return of the formula itself, but for rounding
# Recovered of 100 seeds with up to 2M expressions each: Petersen et al. (2021), Table 1.
PUBLISHED = {
    "risk-seeking policy gradient": dict(zip(FORMULAS, (100, 100, 100, 100, 100), strict=True)),
    "policy gradient": dict(zip(FORMULAS, (96, 47, 1, 94, 100), strict=True)),
}
RUNS = Path("runs/formulas")
FILE = RESULTS / "formulas.json"


def configure(method: str, nguyen: int, seed: int) -> Config:
    """Return the settings of one run; it ends when an expression has no error."""
    fixed = {"runs_dir": str(RUNS), "exp_name": f"{nguyen}", "seed": seed, "threads": 1, "eval_episodes": 0}
    goal = {"stop_at": f"text/best_return >= {EXACT}", "total_timesteps": STEPS, "env_kwargs": {"nguyen": nguyen}}
    return preset(ENV).replace(fixed | goal | METHODS[method])


def train(method: str, nguyen: int, seed: int) -> list[dict[str, Any]]:
    """Train one seed; return the best expression, whether it is the formula, and how many expressions were written until then."""
    run = finish(configure(method, nguyen, seed))
    best = json.loads((run / "best.jsonl").read_text().splitlines()[0])
    task = formulas(nguyen)
    ids = tuple(task.vocabulary.encode(best["response"]))
    solved = bool(task.score([Completion(task.vocabulary, (), ids, ended=True)], "solved")[0])
    with (run / "progress.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["global_step"]) <= best["step"] or not solved]
    expressions = round(sum(float(row["charts/episodes"]) for row in rows))
    return [{"solved": solved, "expressions": expressions, "best": best["response"], "return": best["return"]}]


def main(jobs: int = 2, seeds: int = 10) -> None:
    """Train the missing runs, and write figures after each and the page at the end."""
    torch.set_num_threads(1)
    cells = [
        {"method": m, "nguyen": n, "seed": seed} for m in METHODS for seed in range(1, seeds + 1) for n in FORMULAS
    ]
    fill(FILE, "python -m benchmarks.formulas", cells, train, jobs, methods=METHODS, tokens=STEPS, paper=PUBLISHED)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
