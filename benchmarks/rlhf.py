"""From human ratings to a tuned text policy: language model, reward models, PPO near the reference, and a report.

    python -m benchmarks.rlhf

A GRU learns to write like 10,604 snippets of movie reviews, a second one what half of their raters prefer. PPO then raises
that reward at several weights β of the divergence from the language model, and without any what models of few ratings
say. Held-out judges tell what it is worth: a reward model of the other raters, and VADER's lexicon.
"""

import csv
import json
import statistics
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import pairwise, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.judges import vader
from benchmarks.rlhf_report import Point, draw, gained, said, table, turning, within
from benchmarks.trained import RESULTS, markdown, settings, trained
from ppo.loop.reference import divergence
from ppo.run.files import write_atomically
from ppo.run.load import load
from ppo.sample import sample
from ppo.supervised.pretrain import pretrain
from ppo.supervised.quality import quality
from ppo.supervised.reward_model import train_reward_model
from ppo.text import corpus, ratings
from ppo.text.env import pack_tokens
from ppo.text.reward_model import RewardModel, pad

ENV, DATA = "text/Write-v0", "hutto-movies"
WRITE: dict[str, Any] = {"corpus": DATA, "size": 3000, "max_tokens": 24}
BETAS, SEEDS = (0.0, 0.03, 0.1, 0.3), (1, 2, 3)
READ, RATED, STEPS = 1_500_000, 800_000, 400_000  # tokens of pretraining, of a reward model, of PPO
FEW, FREE = 500, 200_000  # texts of a poor reward model, tokens of PPO on it
SAMPLES = 500  # of each checkpoint
NEAR = 10.0  # nats a sequence from the language model that samples are shown at
EXAMPLES = 6
JUDGES = ("others", "vader")
RUNS = Path("runs/rlhf")


def read(policy: str) -> Path:
    """Return a language model of the reviews."""
    return trained(
        settings(
            ENV, RUNS, f"read_{policy}", 1, total_timesteps=READ, env_kwargs=WRITE, learning_rate=3e-3, policy=policy
        ),
        pretrain,
    )


def rate(raters: str, name: str, source: str) -> Path:
    """Return a reward model of some raters."""
    small = {"num_envs": 16, "num_minibatches": 1, "learning_rate": 1e-3}
    config = settings(ENV, RUNS, f"rate_{name}", 1, total_timesteps=RATED, env_kwargs=WRITE, **small)
    return trained(config, partial(train_reward_model, source=source, raters=raters))


def tune(name: str, beta: float, seed: int, start: Path, model: Path, **more: Any) -> Path:
    """Return a policy that was trained on a reward model, near the language model."""
    close = {"init_from": str(start), "reference": str(start), "kl_coef": beta, "keep_checkpoints": True}
    rewarded = {"env_kwargs": WRITE | {"reward": str(model)}, "eval_episodes": 0}
    return trained(settings(ENV, RUNS, name, seed, **close, **rewarded, **more))


def near(beta: float, seed: int, start: Path, model: Path, others: Path) -> list[Point]:
    """Return what a policy comes to write like at a β."""
    run = tune(f"tune_{beta}", beta, seed, start, model, total_timesteps=STEPS)
    return measured(run, "all", beta, seed, start, (model, others))


def few(seed: int) -> Path:
    """Return a reward model of a few texts, of each seed its own."""
    path, given = RUNS / f"few{seed}.jsonl", ratings.read(DATA)
    chosen = split()[0][FEW * (seed - 1) : FEW * seed]
    rows = ({"text": given.texts[n], "ratings": list(given.ratings[n])} for n in chosen)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return rate("even", path.stem, str(path))


def free(seed: int, start: Path, others: Path) -> list[Point]:
    """Return what a policy comes to write like on a poor reward model when nothing holds it back."""
    model = few(seed)
    run = tune("free", 0.0, seed, start, model, total_timesteps=FREE, learning_rate=3e-4)
    return measured(run, "few", 0.0, seed, start, (model, others))


def measured(run: Path, kind: str, beta: float, seed: int, start: Path, models: tuple[Path, Path]) -> list[Point]:
    """Return what a run's checkpoints write like, the language model's own writing first."""
    names = sorted(path.stem for path in (run / "checkpoints").glob("iteration_*"))
    written = [(start, "latest"), *((run, name) for name in names)]
    return [point(*which, kind, beta, seed, start, models) for which in written]


@torch.no_grad()
def point(
    run: Path, checkpoint: str, kind: str, beta: float, seed: int, start: Path, models: tuple[Path, Path]
) -> Point:
    """Return what a checkpoint writes like."""
    saved, reference = load(run, checkpoint), load(start).policy
    written = [completion for completion, _ in sample(run, SAMPLES, checkpoint=checkpoint, seed=seed)]
    texts = [list(c.response_ids) for c in written]
    end, state = written[0].vocabulary.end, saved.policy.initial_state(len(texts))
    tokens, starts = pad(texts, end)
    obs, begins = pack_tokens(saved.obs_space, tokens, state.device), torch.from_numpy(starts)
    dist, ref = saved.policy(obs, state, begins)[0], reference(obs, state, begins)[0]
    lengths = np.array([len(c.response_ids) + c.ended for c in written])  # decisions
    decided = np.arange(len(tokens))[:, None] < lengths
    following = torch.from_numpy(np.vstack([tokens[1:], tokens[-1:]]))
    per_token = ref.log_prob(following).numpy()[decided].mean()
    model, others = (RewardModel(str(path), written[0].vocabulary) for path in models)
    return Point(
        kind, beta, seed, saved.meta["global_step"] if run != start else 0, statistics.fmean(model.score_texts(texts)),
        statistics.fmean(others.score_texts(texts)), statistics.fmean(vader(written)),
        float((divergence(dist, ref).numpy() * decided).sum(0).mean()), float(np.exp(-per_token)), distinct(texts),
        statistics.fmean(c.ended for c in written), float(lengths.mean()),
    )  # fmt: skip


def distinct(texts: list[list[int]]) -> float:
    """Return of all pairs of neighbouring words the share of different ones (Li et al. 2016, distinct-2)."""
    pairs = [pair for text in texts for pair in pairwise(text)]
    return len(set(pairs)) / max(1, len(pairs))


def split() -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the texts to learn from, and of those that are held out."""
    training, held_out = corpus.split(list(range(len(ratings.read(DATA).texts))), DATA)
    return np.array(training), np.array(held_out)


def modelled(model: Path) -> dict[str, Any]:
    """Return the figures of a reward model, on the texts that are held out of all."""
    given, held_out = ratings.read(DATA), split()[1]
    vocabulary = corpus.vocabulary_of(corpus.read_lines(DATA), "words", WRITE["size"])
    texts = [vocabulary.encode(given.texts[n]) for n in held_out]
    scores = np.array(RewardModel(str(model), vocabulary).score_texts(texts))
    return asdict(quality(scores, given, held_out, np.array([len(text) for text in texts])))


def counted(penalty: float = 3.0) -> dict[str, Any]:
    """Return the same figures of a ridge regression on which words a text has: what these texts teach without their order."""
    given = ratings.read(DATA)
    words = [set(corpus.vocabulary_of([text], "words").symbols) for text in given.texts]
    training, held_out = split()
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
            pool.submit(read, "gru"), pool.submit(rate, "even", "even", DATA), pool.submit(rate, "odd", "odd", DATA),
            pool.submit(read, "transformer"),
        )  # fmt: skip
        start, model, others, transformer = (each.result() for each in first)
        told = [pool.submit(near, beta, seed, start, model, others) for beta, seed in product(BETAS, SEEDS)]
        untied = [pool.submit(free, seed, start, others) for seed in SEEDS]
        points, loose = ([p for each in found for p in each.result()] for found in (told, untied))
    (RESULTS / "rlhf.json").write_text(json.dumps([asdict(p) for p in points + loose], indent=1) + "\n")
    draw({"a model of all texts": points, f"models of {FEW} texts": loose}, RESULTS / "rlhf.png")
    beta = within(points, NEAR)
    chosen = tune(f"tune_{beta}", beta, SEEDS[0], start, model, total_timesteps=STEPS)
    pairs = zip(examples(start), examples(chosen), strict=True)
    text = [
        "# From human ratings to a tuned text policy\n",
        f"{DATA}: PPO for {STEPS:,} tokens, {len(SEEDS)} seeds of PPO, one of the language model and of each reward "
        f"model; {SAMPLES} samples of each checkpoint, mean ± standard deviation over seeds (in the first row, over samples). Both reward "
        "models learnt from the same texts, each from half of the raters. Made by `python -m benchmarks.rlhf`.\n",
        markdown(table(points)),
        "![reward and judges by divergence](rlhf.png)\n",
        gained(points, beta) + ".\n",
        f"Perplexity on held-out reviews: GRU {perplexity(start):.1f}, which all of this starts from; transformer "
        f"{perplexity(transformer):.1f}.\n",
        "## How far a reward can be trusted\n",
        f"With the model of all texts and β {min(BETAS)}:\n", *(f"- {turning(points, judge)}" for judge in JUDGES),
        f"\nWith models of {FEW} texts, others for each seed, and PPO for {FREE:,} tokens:\n", markdown(table(loose)),
        *(f"- {turning(loose, judge)}" for judge in JUDGES),
        "\n## Reward models\n",
        said("even raters, trained on", modelled(model)), said("odd raters, a judge", modelled(others)),
        *(said(f"{FEW} texts, seed {seed}", modelled(few(seed))) for seed in SEEDS),
        said("a ridge regression on words, for comparison", counted()),
        "\n## Samples\n",
        markdown([("language model", f"β {beta}, seed {SEEDS[0]}"), *((a, b) for a, b in pairs)]),
    ]  # fmt: skip
    (RESULTS / "rlhf.md").write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    tyro.cli(main)
