"""Does PPO on the metric beat maximum likelihood on the same network? Letters to phonemes, text/Pronounce-v0.

    python -m benchmarks.pronounce

A GRU and a transformer are pretrained on the training words, then PPO lowers their phoneme error near that policy. Each
held-out word is scored once with sampled and once with the most probable phonemes. Also scored: the GRU of the package g2p-en,
greedy; its authors split the dictionary in another way, so it has probably learnt some of these words.
"""

import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import tyro

from benchmarks import pages
from benchmarks.runs import RESULTS, fill, finish, settings
from ppo.sampling import sample
from ppo.supervised.pretrain import pretrain
from ppo.text.tasks import pronounce
from ppo.text.tasks.pronounce import MARK, STRESS, Pronunciations

ENV = "text/Pronounce-v0"
WORDS: dict[str, Any] = {}  # arguments of the environment
NETWORKS: dict[str, dict[str, Any]] = {
    "GRU": {"policy": "gru"},
    "transformer": {"policy": "transformer", "context": 32, "num_layers": 2, "hidden_sizes": (64,)},
}
LIKELIHOOD: dict[str, dict[str, Any]] = {
    "GRU": {"learning_rate": 2e-3, "total_timesteps": 8_000_000}, "transformer": {"learning_rate": 2e-3, "total_timesteps": 2_000_000},
}  # fmt: skip
PPO = {"kl_coef": 0.01, "critic_warmup": 8, "eval_episodes": 0, "total_timesteps": 1_000_000}
BATCH = 2000  # words at a time
METHODS = ("maximum likelihood", "PPO from it")
RUNS = Path("runs/pronounce")


def clone_of(network: str, seed: int) -> Path:
    """Return the run that has learnt by likelihood."""
    more = NETWORKS[network] | {"env_kwargs": WORDS} | LIKELIHOOD[network]
    return finish(settings(ENV, RUNS, f"likelihood_{network}", seed, **more), pretrain)


def train(network: str, seed: int) -> dict[str, Path]:
    """Return the runs of a network, by method."""
    clone = clone_of(network, seed)
    near = {"init_from": str(clone), "reference": str(clone)}
    more = NETWORKS[network] | {"env_kwargs": WORDS}
    return dict(
        zip(METHODS, (clone, finish(settings(ENV, RUNS, f"ppo_{network}", seed, **more | near | PPO))), strict=True)
    )


@cache
def held_out() -> Pronunciations:
    """Return the held-out words, and their pronunciations."""
    pronunciations = pronounce.read(**WORDS)
    return {word: texts for word, texts in pronunciations.items() if pronounce.is_held_out(word)}


def written(run: Path, deterministic: bool) -> Iterator[tuple[str, bool]]:
    """Yield for each held-out word the phonemes that a run's policy writes, and whether they end."""
    prompts = [word + MARK for word in held_out()]
    for n in range(0, len(prompts), BATCH):
        samples = sample(run, prompt=prompts[n : n + BATCH], deterministic=deterministic)
        yield from ((c.response, c.ended) for c, _ in samples)


def scores(responses: list[tuple[str, bool]]) -> dict[str, float]:
    """Return the phoneme error and the word error of the responses to all held-out words, in %.

    The phoneme error is the number of edits by the number of phonemes, over all words; a word is wrong unless its response is
    one of its pronunciations.
    """
    rows = list(zip(responses, held_out().values(), strict=True))
    distances = [pronounce.distance(text, references) for (text, _), references in rows]
    phonemes = sum(edits for edits, _ in distances) / sum(length for _, length in distances)
    words = statistics.fmean(not ended or text not in references for (text, ended), references in rows)
    return {"phonemes": 100 * phonemes, "words": 100 * words}


def measure(network: str, seed: int) -> list[dict[str, Any]]:
    """Train a network, and return its errors on the held-out words, a row for each method and way to choose phonemes."""
    torch.set_num_threads(1)
    return [
        {"network": network, "method": method, "seed": seed, "choice": choice}
        | scores(list(written(run, choice == "greedy")))
        for method, run in train(network, seed).items()
        for choice in ("greedy", "sampled")
    ]


def peer() -> dict[str, float]:
    """Return the errors of g2p-en's pretrained GRU on the held-out words, greedy, its stress left out."""
    import nltk

    nltk.download = lambda *_: False  # its dictionary and its tagger are not needed
    from g2p_en import g2p

    g2p.cmudict = SimpleNamespace(dict=dict)
    predict = g2p.G2p().predict
    return scores([(" ".join(phoneme.rstrip(STRESS) for phoneme in predict(word)), True) for word in held_out()])


def main(seeds: int = 3, jobs: int = 2) -> None:
    """Train the missing runs, and write figures after each, and the page.

    Args:
        seeds: number of seeds; they count from 1.
        jobs: number of runs at the same time.
    """
    made = {"networks": NETWORKS, "likelihood": LIKELIHOOD, "ppo": PPO, "held_out": len(held_out()), "peer": peer()}
    cells = [{"network": network, "seed": seed} for seed in range(1, seeds + 1) for network in NETWORKS]
    fill(RESULTS / "pronounce.json", f"python -m benchmarks.pronounce --seeds {seeds}", cells, measure, jobs, **made)
    pages.write()


if __name__ == "__main__":
    tyro.cli(main)
