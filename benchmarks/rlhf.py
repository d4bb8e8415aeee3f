"""From human ratings to a tuned text policy: language model, reward models, PPO with a KL penalty, and a report.

    python -m benchmarks.rlhf

A GRU learns to write like 10,604 snippets of movie reviews, and a reward model learns the preferences of half of their raters.
PPO then maximises that reward at several weights β of the KL penalty to the language model, and without penalty the rewards of
models of few ratings. Independent judges measure the result: a reward model of the other raters, and VADER's lexicon.
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
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro

from benchmarks import pages
from benchmarks.judges import vader
from benchmarks.pages import PAGES
from benchmarks.rlhf_report import Point, draw, within
from benchmarks.runs import RESULTS, finish, save, settings
from ppo.run.files import write_atomically
from ppo.run.load import load
from ppo.sampling import sample
from ppo.supervised import comparisons
from ppo.supervised.pretrain import pretrain
from ppo.supervised.quality import quality
from ppo.supervised.reward_model import train_reward_model
from ppo.text import corpus, ratings
from ppo.text.env import pack_tokens
from ppo.text.reward_model import RewardModel, pad

ENV, DATA = "text/Write-v0", "hutto-movies"
WRITE: dict[str, Any] = {"corpus": DATA, "size": 3000, "max_tokens": 24}
BETAS, SEEDS = (0.0, 0.03, 0.1, 0.3), (1, 2, 3)
LANGUAGE_TOKENS, REWARD_TOKENS, STEPS = 1_500_000, 800_000, 400_000  # of pretraining, of a reward model, of PPO
FEW, FEW_STEPS = 500, 200_000  # texts of a poor reward model, tokens of PPO on it
SAMPLES = 500  # of each checkpoint
NEAR = 10.0  # nats per sequence from the language model: the report quotes samples of the smallest β within it
EXAMPLES = 6
RUNS = Path("runs/rlhf")


class Models(NamedTuple):
    """The runs that every PPO run needs: a language model, and the reward models of the two halves of the raters."""

    language: Path
    reward: Path
    others: Path


def language_model(policy: str) -> Path:
    """Return a language model of the reviews."""
    options = {"env_kwargs": WRITE, "learning_rate": 3e-3, "policy": policy}
    return finish(settings(ENV, RUNS, f"read_{policy}", 1, total_timesteps=LANGUAGE_TOKENS, **options), pretrain)


def reward_model(raters: str, name: str, source: str) -> Path:
    """Return a reward model of some raters."""
    small = {"num_envs": 16, "num_minibatches": 1, "learning_rate": 1e-3}
    config = settings(ENV, RUNS, f"rate_{name}", 1, total_timesteps=REWARD_TOKENS, env_kwargs=WRITE, **small)
    return finish(config, partial(train_reward_model, source=source, raters=raters))


def few_ratings_model(seed: int) -> Path:
    """Return a reward model of a few texts, other ones for each seed."""
    path, data = RUNS / f"few{seed}.jsonl", ratings.read(DATA)
    indices = split()[0][FEW * (seed - 1) : FEW * seed]
    rows = ({"text": data.texts[n], "ratings": list(data.ratings[n])} for n in indices)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return reward_model("even", path.stem, str(path))


def tune(name: str, beta: float, seed: int, start: Path, model: Path, **more: Any) -> Path:
    """Return a policy that PPO trained on a reward model, with a KL penalty to the language model."""
    penalty = {"init_from": str(start), "reference": str(start), "kl_coef": beta, "keep_checkpoints": True}
    rewarded = {"env_kwargs": WRITE | {"reward": str(model)}, "eval_episodes": 0}
    return finish(settings(ENV, RUNS, name, seed, **penalty, **rewarded, **more))


def tune_at(beta: float, seed: int, models: Models) -> Path:
    """Return the policy at a weight β of the KL penalty, with the reward model of all texts."""
    return tune(f"tune_{beta}", beta, seed, models.language, models.reward, total_timesteps=STEPS)


def penalized_points(beta: float, seed: int, models: Models) -> list[Point]:
    """Train at a weight β of the KL penalty and return the figures of every checkpoint."""
    return measure_run(tune_at(beta, seed, models), "all", beta, seed, models)


def few_ratings_points(seed: int, models: Models) -> list[Point]:
    """Train on a poor reward model without a KL penalty and return the figures of every checkpoint."""
    poor = models._replace(reward=few_ratings_model(seed))
    run = tune("free", 0.0, seed, poor.language, poor.reward, total_timesteps=FEW_STEPS, learning_rate=3e-4)
    return measure_run(run, "few", 0.0, seed, poor)


def measure_run(run: Path, kind: str, beta: float, seed: int, models: Models) -> list[Point]:
    """Return the figures of a run's checkpoints, those of the language model first."""
    names = sorted(path.stem for path in (run / "checkpoints").glob("iteration_*"))
    checkpoints = [(models.language, "latest"), *((run, name) for name in names)]
    return [measure_checkpoint(*checkpoint, kind, beta, seed, models) for checkpoint in checkpoints]


@torch.no_grad()
def measure_checkpoint(run: Path, checkpoint: str, kind: str, beta: float, seed: int, models: Models) -> Point:
    """Return the figures of a checkpoint's samples."""
    saved, reference = load(run, checkpoint), load(models.language).policy
    samples = [completion for completion, _ in sample(run, SAMPLES, checkpoint=checkpoint, seed=seed)]
    texts = [list(c.response_ids) for c in samples]
    end, state = samples[0].vocabulary.end, saved.policy.initial_state(len(texts))
    tokens, starts = pad(texts, end)
    obs, begins = pack_tokens(saved.obs_space, tokens, state.device), torch.from_numpy(starts)
    dist, ref = saved.policy(obs, state, begins)[0], reference(obs, state, begins)[0]
    lengths = np.array([len(c.response_ids) + c.ended for c in samples])  # decisions
    decided = np.arange(len(tokens))[:, None] < lengths
    following = torch.from_numpy(np.vstack([tokens[1:], tokens[-1:]]))
    per_token = ref.log_prob(following).numpy()[decided].mean()
    kl = dist.divergence(ref.parameters()).numpy()
    model, others = (RewardModel(str(path), samples[0].vocabulary) for path in models[1:])
    return Point(
        kind, beta, seed, saved.meta["global_step"] if run != models.language else 0, statistics.fmean(model.score_texts(texts)),
        statistics.fmean(others.score_texts(texts)), statistics.fmean(vader(samples)),
        float((kl * decided).sum(0).mean()), float(np.exp(-per_token)), distinct(texts),
        statistics.fmean(c.ended for c in samples), float(lengths.mean()),
    )  # fmt: skip


def distinct(texts: list[list[int]]) -> float:
    """Return the number of distinct pairs of neighbouring words by the number of all (Li et al. 2016, distinct-2)."""
    pairs = [pair for text in texts for pair in pairwise(text)]
    return len(set(pairs)) / max(1, len(pairs))


def split() -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training texts and of the held-out texts."""
    training, held_out = comparisons.split(ratings.read(DATA), DATA)
    return np.concatenate(training), np.concatenate(held_out)


def model_quality(model: Path) -> dict[str, Any]:
    """Return the quality of a reward model on the held-out texts."""
    data, held_out = ratings.read(DATA), split()[1]
    vocabulary = corpus.vocabulary_of(corpus.read_lines(DATA), "words", WRITE["size"])
    texts = [vocabulary.encode(data.texts[n]) for n in held_out]
    scores = np.array(RewardModel(str(model), vocabulary).score_texts(texts))
    return asdict(quality(scores, data, held_out, np.array([len(text) for text in texts])))


def ridge_quality(penalty: float = 3.0) -> dict[str, Any]:
    """Return the same for a ridge regression on the words of a text, which ignores their order."""
    data = ratings.read(DATA)
    words = [set(corpus.vocabulary_of([text], "words").symbols) for text in data.texts]
    training, held_out = split()
    counts = Counter(word for n in training for word in words[n])
    columns = {word: n for n, word in enumerate(word for word, count in counts.items() if count > 2)}
    table = np.zeros((len(words), len(columns)))
    for row, text in zip(table, words, strict=True):
        for word in text & columns.keys():
            row[columns[word]] = np.log(len(training) / counts[word])
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    means = np.array([np.mean(rating) for rating in data.ratings])
    x, y = table[training], means[training] - means[training].mean()
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(len(columns)), x.T @ y)
    lengths = np.array([len(data.texts[n].split()) for n in held_out])
    return asdict(quality(table[held_out] @ weights, data, held_out, lengths))


def perplexity(run: Path) -> float:
    """Return the lowest perplexity on held-out reviews in a run of pretraining."""
    with (run / "progress.csv").open(encoding="utf-8") as file:
        return min(float(row["eval/perplexity"] or "inf") for row in csv.DictReader(file))


def examples(run: Path) -> list[str]:
    """Return samples of a run; all runs draw from the same noise."""
    return [str(completion).removeprefix(" → ") for completion, _ in sample(run, EXAMPLES, seed=0)]


def train_all(jobs: int) -> tuple[Models, Path, list[Point], list[Point]]:
    """Train the missing runs.

    Returns:
        The models, a transformer as language model, the points of the reward model of all texts, and of models of few texts.
    """
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        language = pool.submit(language_model, "gru")
        even, odd = (pool.submit(reward_model, half, half, DATA) for half in ("even", "odd"))
        transformer = pool.submit(language_model, "transformer")
        models = Models(language.result(), even.result(), odd.result())
        all_texts = [pool.submit(penalized_points, beta, seed, models) for beta, seed in product(BETAS, SEEDS)]
        few_texts = [pool.submit(few_ratings_points, seed, models) for seed in SEEDS]
        points, few = ([p for job in jobs for p in job.result()] for jobs in (all_texts, few_texts))
        return models, transformer.result(), points, few


def report(models: Models, transformer: Path, points: list[Point]) -> dict[str, Any]:
    """Return what the page shows besides the points: perplexities, the quality of the reward models, and samples."""
    beta = within(points, NEAR)
    pairs = zip(examples(models.language), examples(tune_at(beta, SEEDS[0], models)), strict=True)
    quality = {
        "even raters, trained on": model_quality(models.reward),
        "odd raters, a judge": model_quality(models.others),
    }
    quality |= {f"{FEW} texts, seed {seed}": model_quality(few_ratings_model(seed)) for seed in SEEDS}
    quality["a ridge regression on words, for comparison"] = ridge_quality()
    return {
        "perplexity": {"GRU": perplexity(models.language), "transformer": perplexity(transformer)},
        "quality": [{"name": name} | figures for name, figures in quality.items()],
        "samples": {"beta": beta, "seed": SEEDS[0], "pairs": list(pairs)},
    }


def main(jobs: int = 2) -> None:
    """Train the missing runs, measure them, and write figures, picture and page."""
    torch.set_num_threads(1)
    ratings.fetch(DATA)
    models, transformer, points, few = train_all(jobs)
    sizes = {"data": DATA, "tokens": STEPS, "few_texts": FEW, "few_tokens": FEW_STEPS, "sampled": SAMPLES}
    rows = [asdict(p) for p in points + few]
    save(RESULTS / "rlhf.json", "python -m benchmarks.rlhf", rows, **sizes, **report(models, transformer, points))
    draw({"a model of all texts": points, f"models of {FEW} texts": few}, PAGES / "rlhf.png")
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
