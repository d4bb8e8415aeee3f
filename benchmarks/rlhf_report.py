"""The results of `benchmarks.rlhf` as points and a picture."""

import statistics
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt


@dataclass(frozen=True)
class Point:
    """Means over a checkpoint's samples."""

    model: str  # the reward model that PPO maximises: of all texts, or of few
    beta: float
    seed: int
    step: int
    reward: float
    others: float  # reward by the model of the other raters
    vader: float
    kl: float  # nats per sequence, to the language model
    perplexity: float  # under the language model
    distinct: float  # distinct pairs of neighbouring words by all pairs
    ended: float
    length: float


def runs_at(points: list[Point], beta: float) -> list[list[Point]]:
    """Return the points of each seed at a β, in the order of training, the language model's first."""
    seeds = sorted({p.seed for p in points})
    return [[p for p in points if (p.beta, p.seed) == (beta, seed)] for seed in seeds]


def within(points: list[Point], nats: float) -> float:
    """Return the smallest β whose runs end on average within `nats` of the language model, or the largest β."""
    betas = sorted({p.beta for p in points})
    near = (beta for beta in betas if statistics.fmean(run[-1].kl for run in runs_at(points, beta)) <= nats)
    return next(near, betas[-1])


def draw(rows: dict[str, list[Point]], path: Path) -> None:
    """Draw the reward and the judges' scores by the divergence; a row for each kind of reward model."""
    titles = {"reward": "reward, trained on", "others": "model of the other raters", "vader": "VADER"}
    figure, grid = plt.subplots(len(rows), 3, figsize=(12, 3.6 * len(rows)), layout="constrained", squeeze=False)
    for axes, (kind, points) in zip(grid, rows.items(), strict=True):
        for axis, (name, title) in zip(axes, titles.items(), strict=True):
            for number, beta in enumerate(sorted({p.beta for p in points})):
                for n, run in enumerate(runs_at(points, beta)):
                    label = f"β = {beta}" if n == 0 else None
                    kls, values = [p.kl for p in run], [getattr(p, name) for p in run]
                    axis.plot(kls, values, "o-", color=f"C{number}", markersize=3, linewidth=1, label=label)
            axis.set(xlabel="KL(π ‖ π_ref), nats per sequence", title=title)
        axes[0].set_ylabel(kind)
        axes[0].legend()
    figure.savefig(path, dpi=110)
