"""From human ratings to a tuned text policy: language model, reward models, PPO near the reference, and a report.

    python -m benchmarks.rlhf

A GRU learns to write like 10,604 snippets of movie reviews, a second one what half of their raters prefer. PPO then raises
that reward at several weights β of the divergence from the language model. Held-out judges say what it is worth: a
reward model of the other raters, and VADER's lexicon.
"""

import csv
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, astuple, dataclass, fields
from functools import partial
from itertools import pairwise, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro

from benchmarks.judges import vader
from benchmarks.trained import RESULTS, markdown, spread, trained
from ppo import Config, preset
from ppo.pretrain import pretrain
from ppo.reference import divergence
from ppo.reward import fit, quality
from ppo.sample import sample
from ppo.saved import load
from ppo.text import corpus, ratings
from ppo.text.env import packed
from ppo.text.reward_model import RewardModel, shown

DATA = "hutto-movies"
WRITE = {"corpus": DATA, "size": 3000, "max_tokens": 24}
BETAS, SEEDS = (0.0, 0.1, 0.3), (1, 2, 3)
READ, RATED, STEPS = 1_500_000, 800_000, 800_000  # tokens of pretraining, of a reward model, of PPO
SAMPLES = 500  # of each checkpoint
EXAMPLES = 6
RUNS = Path("runs/rlhf")


@dataclass(frozen=True)
class Point:
    """What a checkpoint's samples are like; means over them."""

    beta: float
    seed: int
    step: int
    reward: float  # of the model that is trained on
    others: float  # of the model of the other raters
    vader: float
    kl: float  # nats a sequence, from the language model
    perplexity: float  # under the language model
    distinct: float  # of all pairs of neighbouring words, the share of different ones
    ended: float
    length: float


def settings(name: str, seed: int, steps: int, **more: Any) -> Config:
    """Return the preset with a name, a seed and a budget."""
    fixed = {"runs_dir": str(RUNS), "exp_name": name, "seed": seed, "total_timesteps": steps, "threads": 1}
    return preset("text/Write-v0", policy=more.pop("policy", "gru"))[1].replace(fixed | {"env_kwargs": WRITE} | more)


def read(policy: str) -> Path:
    """Return a language model of the reviews."""
    return trained(settings(f"read_{policy}", 1, READ, learning_rate=3e-3, policy=policy), pretrain)


def rate(raters: str) -> Path:
    """Return a reward model of some raters."""
    config = settings(f"rate_{raters}", 1, RATED, num_envs=16, num_minibatches=1, learning_rate=1e-3)
    return trained(config, partial(fit, source=DATA, raters=raters))


def tune(beta: float, seed: int, start: Path, model: Path) -> Path:
    """Return a policy that was trained on a reward model, near the language model."""
    near = {"init_from": str(start), "reference": str(start), "kl_coef": beta, "keep_checkpoints": True}
    rewarded = {"env_kwargs": WRITE | {"reward": str(model)}, "eval_episodes": 0}
    return trained(settings(f"tune_{beta}", seed, STEPS, **near, **rewarded))


def measured(run: Path, beta: float, seed: int, start: Path, models: Sequence[Path]) -> list[Point]:
    """Return what a run's checkpoints write like, the language model's own writing first."""
    names = sorted(path.stem for path in (run / "checkpoints").glob("iteration_*"))
    return [point(start, "latest", beta, seed, start, models)] + [
        point(run, name, beta, seed, start, models) for name in names
    ]


@torch.no_grad()
def point(run: Path, checkpoint: str, beta: float, seed: int, start: Path, models: Sequence[Path]) -> Point:
    """Return what a checkpoint writes like."""
    saved, reference = load(run, checkpoint), load(start).policy
    written = [completion for completion, _ in sample(run, SAMPLES, checkpoint=checkpoint, seed=seed)]
    texts = [list(c.response_ids) for c in written]
    end, state = written[0].vocabulary.end, saved.policy.initial_state(len(texts))
    tokens, starts = shown(texts, end)
    obs, begins = packed(saved.obs_space, tokens, state.device), torch.from_numpy(starts)
    dist, ref = saved.policy(obs, state, begins)[0], reference(obs, state, begins)[0]
    lengths = np.array([len(c.response_ids) + c.ended for c in written])  # decisions
    decided = np.arange(len(tokens))[:, None] < lengths
    following = torch.from_numpy(np.vstack([tokens[1:], tokens[-1:]]))
    per_token = ref.log_prob(following).numpy()[decided].mean()
    model, others = (RewardModel(str(path), written[0].vocabulary) for path in models)
    return Point(
        beta, seed, saved.meta["global_step"] if run != start else 0, statistics.fmean(model.of(texts)),
        statistics.fmean(others.of(texts)), statistics.fmean(vader(written)),
        float((divergence(dist, ref).numpy() * decided).sum(0).mean()), float(np.exp(-per_token)), distinct(texts),
        statistics.fmean(c.ended for c in written), float(lengths.mean()),
    )  # fmt: skip


def distinct(texts: list[list[int]]) -> float:
    """Return of all pairs of neighbouring words the share of different ones (Li et al. 2016, distinct-2)."""
    pairs = [pair for text in texts for pair in pairwise(text)]
    return len(set(pairs)) / max(1, len(pairs))


def table(points: list[Point]) -> list[tuple[str, ...]]:
    """Return a row for the language model and one for each β, at the end of its training."""
    names = [field.name for field in fields(Point)][3:]
    rows: list[tuple[str, ...]] = [("", *names)]
    last = max(p.step for p in points)
    found_of = {"language model": [p for p in points if (p.beta, p.step) == (BETAS[0], 0)]}
    found_of |= {f"β {beta}": [p for p in points if (p.beta, p.step) == (beta, last)] for beta in BETAS}
    for name, found in found_of.items():
        columns = list(zip(*map(astuple, found), strict=True))[3:]
        rows.append((name, *(spread(list(column), 2) for column in columns)))
    return rows


def turning(points: list[Point], judge: str) -> str:
    """Return how a judge goes on from its highest mean over seeds to the end, of the runs that nothing holds back."""
    free = [[p for p in points if (p.beta, p.seed) == (BETAS[0], seed)] for seed in SEEDS]  # (seeds, checkpoints)
    means = [statistics.fmean(getattr(p, judge) for p in column) for column in zip(*free, strict=True)]
    best = means.index(max(means))
    falls = [getattr(run[-1], judge) - getattr(run[best], judge) for run in free]
    gains = [run[-1].reward - run[best].reward for run in free]
    at, end = (statistics.fmean(run[n].kl for run in free) for n in (best, -1))
    return (
        f"`{judge}` is highest at {at:.1f} nats ({max(means):.2f}); from there to the end, at {end:.1f} nats, it changes by "
        f"{spread(falls, 2)}, the reward by {spread(gains, 2)}"
    )


def draw(points: list[Point]) -> None:
    """Draw the reward that is trained on and what the judges say, by the divergence."""
    titles = {"reward": "reward model (trained on)", "others": "reward model of the other raters", "vader": "VADER"}
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for number, beta in enumerate(BETAS):
            for seed in SEEDS:
                found = [p for p in points if (p.beta, p.seed) == (beta, seed)]
                label = f"β = {beta}" if seed == SEEDS[0] else None
                kls, values = [p.kl for p in found], [getattr(p, name) for p in found]
                axis.plot(kls, values, "o-", color=f"C{number}", markersize=3, linewidth=1, label=label)
        axis.set(xlabel="KL(π ‖ π_ref), nats a sequence", title=title)
    axes[0].legend()
    figure.savefig(RESULTS / "rlhf.png", dpi=110)


def said(name: str, found: dict[str, Any]) -> str:
    """Return a line on how well something tells held-out comparisons."""
    lengths = ", ".join(f"{x:.3f}" for x in found["by_length"])
    return (
        f"- {name}: {found['accuracy']:.3f} of held-out comparisons (another rater {found['agreement']:.3f}, the mean of all "
        f"others {found['ceiling']:.3f}); short, middle, long texts {lengths}; calibration error {found['calibration']:.3f}"
    )


def modelled(model: Path) -> dict[str, Any]:
    """Return the figures of a reward model."""
    found: dict[str, Any] = json.loads((model / "quality.json").read_text())
    return found


def counted(penalty: float = 3.0) -> dict[str, Any]:
    """Return the same figures of a ridge regression on which words a text has: what these texts teach without their order."""
    given = ratings.read(DATA)
    words = [set(corpus.vocabulary_of([text], "words").symbols) for text in given.texts]
    training, held_out = (np.array(part) for part in corpus.split(list(range(len(words))), DATA))
    counts = Counter(word for n in training for word in words[n])
    columns = {word: n for n, word in enumerate(word for word, count in counts.items() if count > 2)}
    table = np.zeros((len(words), len(columns)))
    for row, found in zip(table, words, strict=True):
        for word in found & columns.keys():
            row[columns[word]] = np.log(len(training) / counts[word])
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    means = np.array([np.mean(each) for each in given.ratings])
    x, y = table[training], means[training] - means[training].mean()
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(len(columns)), x.T @ y)
    lengths = np.array([len(given.texts[n].split()) for n in held_out])
    return asdict(quality(table[held_out] @ weights, given, held_out, lengths))


def perplexity(run: Path) -> float:
    """Return the perplexity on held-out reviews of the policy that pretraining kept."""
    with (run / "progress.csv").open(encoding="utf-8") as file:
        return min(float(row["eval/perplexity"] or "inf") for row in csv.DictReader(file))


def examples(run: Path) -> list[str]:
    """Return what a run writes from the same noise."""
    return [str(completion).removeprefix(" → ") for completion, _ in sample(run, EXAMPLES, seed=0)]


def main(jobs: int = 2) -> None:
    """Train what is missing, measure it, and write the report."""
    torch.set_num_threads(1)
    ratings.fetch(DATA)
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        first = (
            pool.submit(read, "gru"),
            pool.submit(rate, "even"),
            pool.submit(rate, "odd"),
            pool.submit(read, "transformer"),
        )
        start, model, others, transformer = (each.result() for each in first)
        grid = list(product(BETAS, SEEDS))
        runs = list(pool.map(tune, *zip(*grid, strict=True), *zip(*[(start, model)] * len(grid), strict=True)))
        each = pool.map(
            measured, runs, *zip(*grid, strict=True), *zip(*[(start, (model, others))] * len(grid), strict=True)
        )
        points = [p for found in each for p in found]
    (RESULTS / "rlhf.json").write_text(json.dumps([asdict(p) for p in points], indent=1) + "\n")
    draw(points)
    chosen = runs[grid.index((BETAS[1], 1))]
    pairs = zip(examples(start), examples(chosen), strict=True)
    text = [
        "# From human ratings to a tuned text policy\n",
        f"{DATA}: PPO for {STEPS:,} tokens, {len(SEEDS)} seeds of PPO, one of the language model and of each reward "
        f"model; {SAMPLES} samples of each checkpoint, mean ± standard deviation over seeds (in the first row, over samples). Both reward "
        "models learnt from the same texts, each from half of the raters. Made by `python -m benchmarks.rlhf`.\n",
        markdown(table(points)),
        "![reward and judges by divergence](rlhf.png)\n",
        f"Perplexity on held-out reviews: GRU {perplexity(start):.1f}, which all of this starts from; transformer "
        f"{perplexity(transformer):.1f}.\n",
        "## How far the reward can be trusted, β 0\n",
        *(f"- {turning(points, judge)}" for judge in ("others", "vader")),
        "\n## Reward models\n",
        said("even raters, trained on", modelled(model)), said("odd raters, a judge", modelled(others)),
        said("a ridge regression on words, for comparison", counted()),
        "\n## Samples\n",
        markdown([("language model", f"β {BETAS[1]}, seed 1"), *((a, b) for a, b in pairs)]),
    ]  # fmt: skip
    (RESULTS / "rlhf.md").write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    tyro.cli(main)
