"""Molecules: write SMILES like those of MOSES, rewarded for being drug-like or similar to a drug."""

import gzip
import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import torch

from ppo.errors import UsageError
from ppo.text.completion import Completion
from ppo.text.package_data import package_file
from ppo.text.ratings import text_lines
from ppo.text.task import Task
from ppo.text.tasks.chemistry import Judge, canonical, judge
from ppo.text.vocabulary import Vocabulary

TOKEN = re.compile(
    r"\[[^\]]+\]|Br|Cl|%\d\d|."
)  # an atom in brackets, one of two letters, a ring of two digits, a character
EVERY = 8  # the task takes each eighth molecule of MOSES: 198,083
# Its other requirements do not install with a current NumPy, and only its data is needed.
INSTALL = "pip install --no-deps molsets==0.3.1"


def molecules(
    reward: str = "qed", target: str = "", divide_repeats: bool = True, smiles: str = "", max_tokens: int = 60
) -> Task:
    """Write a molecule as SMILES. A text that is not a molecule earns 0.

    Args:
        reward: qed or similarity; see `ppo.text.tasks.chemistry.judge`.
        target: of the similarity: celecoxib, as without one, or a SMILES.
        divide_repeats: in training, a molecule that the run writes for the n-th time earns 1/n of its score.
        smiles: a text file whose lines begin with a SMILES, for `ppo pretrain`; empty: the training set of MOSES, from the package
            molsets.
        max_tokens: most tokens of a molecule, the end token included; longer ones are left out.

    Raises:
        UsageError: the reward is unknown, the target or a line is not a molecule, a package is missing, or the file cannot be read.
    """
    judge_text = judge(reward, target)
    lines = read(smiles)
    # Those of MOSES are canonical, but for 3 of 10,000 that RDKit has come to write in another way.
    known = canonical_lines(tuple(lines), smiles) if smiles else lines
    fitting = [line for line in lines if len(TOKEN.findall(line)) < max_tokens]
    if not fitting:
        raise UsageError(f"no molecule of {smiles or 'MOSES'} has fewer than max_tokens = {max_tokens} tokens")
    laboratory = Laboratory(judge_text, known, divide_repeats)
    metrics = {name: getattr(laboratory, name) for name in ("score", "validity", "uniqueness", "novelty")}
    return Task(
        vocabulary_of(fitting),
        laboratory.reward,
        max_tokens,
        metrics=metrics,
        demonstrate=[("", line) for line in fitting],
    )


def read(path: str) -> list[str]:
    """Return the SMILES of a file, or the fixed part of MOSES if `path` is empty.

    Raises:
        UsageError: the file cannot be read, or molsets is not installed.
    """
    if path:
        return [line.split()[0] for line in text_lines(path) if line.strip()]  # a name may follow
    file = package_file("molsets", "moses/dataset/data/train.csv.gz", "text/Molecules-v0", INSTALL)
    return gzip.decompress(file.read_bytes()).decode().splitlines()[1::EVERY]  # after the header


@lru_cache(1)  # training and evaluation make the same task
def canonical_lines(lines: tuple[str, ...], path: str) -> list[str]:
    """Return the canonical SMILES of the lines of a file.

    Raises:
        UsageError: a line is not a molecule.
    """
    found = [canonical(line) for line in lines]
    if "" in found:
        wrong = found.index("")
        raise UsageError(
            f"{lines[wrong]!r}, the molecule {wrong + 1} of {path}, is not a SMILES that RDKit can read; remove it"
        )
    return found


def vocabulary_of(lines: Iterable[str]) -> Vocabulary:
    """Return the tokens of SMILES."""
    return Vocabulary(sorted({token for line in lines for token in TOKEN.findall(line)}), split=TOKEN.findall)


class Laboratory:
    """The reward and the metrics of molecules, and the memory of those that the run has written.

    Args:
        judge: returns the canonical SMILES and the score of a text.
        known: the canonical SMILES of the training set.
        divide_repeats: whether a repeated molecule earns less in training.
    """

    def __init__(self, judge: Judge, known: Iterable[str], divide_repeats: bool) -> None:
        self.judge = lru_cache(8192)(judge)  # reward and metrics ask for the same texts, one after another
        self.known, self.divide_repeats, self.training = frozenset(known), divide_repeats, True
        self.times: dict[int, int] = {}  # how often each molecule was written, by the hash of its canonical SMILES

    def reward(self, completions: list[Completion]) -> list[float]:
        """Return the scores, in training divided by how often the molecule was written, this time included."""
        rewards = []
        for molecule, score in self._judged(completions):
            name = key(molecule)
            times = self.times.get(name, 0) + 1
            if molecule:
                self.times[name] = times
            rewards.append(score / times if self.divide_repeats and self.training else score)
        return rewards

    def score(self, completions: list[Completion]) -> list[float]:
        """Return the scores; 0 of what is not a molecule."""
        return [score for _, score in self._judged(completions)]

    def validity(self, completions: list[Completion]) -> list[bool]:
        """Return which are molecules."""
        return [canonical != "" for canonical, _ in self._judged(completions)]

    def uniqueness(self, completions: list[Completion]) -> list[bool]:
        """Return which are molecules that the run has written once."""
        return [self.times.get(key(canonical)) == 1 for canonical, _ in self._judged(completions)]

    def novelty(self, completions: list[Completion]) -> list[bool]:
        """Return which are molecules that are not in the training set."""
        return [canonical != "" and canonical not in self.known for canonical, _ in self._judged(completions)]

    def _judged(self, completions: list[Completion]) -> list[tuple[str, float]]:
        return [self.judge(c.response) if c.ended else ("", 0.0) for c in completions]

    def set_training(self, training: bool) -> None:
        """Let repeated molecules earn less, or not in an evaluation."""
        self.training = training

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, (2, M): hashes of molecules, and how often each was written."""
        return {"times": torch.tensor([[*self.times], [*self.times.values()]], dtype=torch.int64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        hashes, counts = state["times"].tolist()
        self.times = dict(zip(hashes, counts, strict=True))


def key(canonical: str) -> int:
    """Return a 64-bit hash of a canonical SMILES, the same in every process."""
    return int.from_bytes(blake2b(canonical.encode(), digest_size=8).digest(), signed=True)
