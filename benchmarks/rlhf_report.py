"""The results of `benchmarks.rlhf` as a table, sentences and a picture."""

import statistics
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.runs import spread


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


def table(points: list[Point]) -> list[tuple[str, ...]]:
    """Return a row for the language model and one for each β, at the end of its training."""
    names = [field.name for field in fields(Point)][4:]
    rows: list[tuple[str, ...]] = [("", *names)]
    free, *_ = betas = sorted({p.beta for p in points})
    seeds = {"language model": [run[0] for run in runs_at(points, free)]}
    seeds |= {f"β {beta}": [run[-1] for run in runs_at(points, beta)] for beta in betas}
    for name, values in seeds.items():
        columns = list(zip(*map(astuple, values), strict=True))[4:]
        rows.append((name, *(spread(list(column), 2) for column in columns)))
    return rows


def within(points: list[Point], nats: float) -> float:
    """Return the smallest β whose runs end on average within `nats` of the language model, or the largest β."""
    betas = sorted({p.beta for p in points})
    near = (beta for beta in betas if statistics.fmean(run[-1].kl for run in runs_at(points, beta)) <= nats)
    return next(near, betas[-1])


def gain(points: list[Point], beta: float) -> str:
    """Return a sentence on VADER's gain at a β by the end of its training, and on its distinct pairs of words."""
    runs = runs_at(points, beta)
    gains = [run[-1].vader - run[0].vader for run in runs]
    ratios = [run[-1].distinct / run[0].distinct for run in runs]
    return (
        f"β {beta} ends {statistics.fmean(run[-1].kl for run in runs):.1f} nats per sequence from the language model: VADER "
        f"rises by {spread(gains, 2)}, distinct-2 is {spread(ratios, 2)} times the language model's"
    )


def peaks(points: list[Point], judge: str) -> str:
    """Return a sentence on the smallest β: for each seed, a judge's highest score and its score at the end of training."""
    seeds = []
    for run in runs_at(points, min(p.beta for p in points)):
        best, end = max(run, key=lambda p: getattr(p, judge)), run[-1]
        seeds.append(
            f"seed {end.seed} {getattr(best, judge):.2f} at {best.kl:.0f} nats (reward {best.reward:.2f}), "
            f"{getattr(end, judge):.2f} at {end.kl:.0f} ({end.reward:.2f})"
        )
    return f"`{judge}`, highest and at the end: {'; '.join(seeds)}"


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


def quality_line(name: str, figures: dict[str, Any]) -> str:
    """Return a line on how well something predicts held-out comparisons."""
    lengths = ", ".join(f"{x:.3f}" for x in figures["by_length"])
    return (
        f"- {name}: predicts {figures['accuracy']:.3f} of held-out comparisons (a second rater {figures['agreement']:.3f}, the mean of "
        f"all other raters {figures['ceiling']:.3f}); short, middle, long texts {lengths}; "
        f"calibration error {figures['calibration']:.3f}"
    )
