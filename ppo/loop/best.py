"""The best: the sequences with the highest returns of a whole run of a text policy, and the share that was distinct.

Both follow from the whole rollout, so every rank knows them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo.envs.spaces import Packer
from ppo.envs.text_env import Tokens
from ppo.loop.episodes import Episode
from ppo.loop.rollout import Rollout
from ppo.run.files import write_atomically

KEEP = 100  # sequences
SHOWN = 20  # of them in TensorBoard
CAPACITY = 2**15  # hashes, 256 kB of a checkpoint: an estimate of more distinct sequences has a standard error of 0.7 %
TEXT = "text/best_return", "text/uniqueness"  # tags
FILE = "best.jsonl"  # in the run's folder


class Distinct:
    """Count distinct hashes in bounded memory, by adaptive sampling (Flajolet 1990).

    Only hashes that end in `level` zero bits are kept, each of which stands for 2^level; another bit must be zero when there
    are more than `capacity`. So up to `capacity` distinct hashes the count is exact, and beyond it the standard error is
    1.2 / √capacity.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity, self.level, self.kept = capacity, 0, set[int]()

    def add(self, digest: int) -> None:
        """Add a hash of 64 bits."""
        if not digest & (1 << self.level) - 1:
            self.kept.add(digest)
            while len(self.kept) > self.capacity:
                self.level += 1
                self.kept = {x for x in self.kept if not x & (1 << self.level) - 1}

    @property
    def count(self) -> int:
        """How many of the hashes were distinct, estimated if they were more than `capacity`."""
        return len(self.kept) << self.level


class Best:
    """Remember the best distinct sequences of a run, and count the distinct ones.

    A sequence is its rows (k, 2) int32: the token that each row showed, and the action, −1 where the policy did not decide. Its
    key is their bytes.

    Args:
        vocabulary: of the text environment.
        packer: of its observations.
    """

    def __init__(self, vocabulary: Tokens, packer: Packer) -> None:
        self.vocabulary, self.packer, self.token = vocabulary, packer, packer.masked.index(False)
        self.found: dict[bytes, tuple[float, int]] = {}  # highest return and the step that first reached it, best first
        self.distinct, self.finished = Distinct(), 0
        self.under_way: list[np.ndarray] = []  # N times the rows of the sequence that the last rollout cut

    def add(self, rollout: Rollout, episodes: list[Episode], step: int) -> dict[str, float]:
        """Add the sequences that ended in a rollout; return the scalars by TensorBoard tag.

        Args:
            rollout: of all environments.
            episodes: that ended in it; those of an environment in the order of their ends.
            step: the global step after the rollout.
        """
        worst = min(self.found.values())[0] if len(self.found) >= KEEP else -np.inf
        returns = [e.episode_return for e in sorted(episodes, key=lambda e: e.env)]  # stable
        for key, value in zip(self._sequences(rollout), returns, strict=True):
            self.finished += 1
            self.distinct.add(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), signed=True))
            if value > worst and value > self.found.get(key, (-np.inf,))[0]:
                self.found[key] = value, step
        self._sort()
        highest = next(iter(self.found.values()))[0] if self.found else np.nan
        unique = min(self.distinct.count / self.finished, 1.0) if self.finished else np.nan
        return dict(zip(TEXT, (highest, unique), strict=True))

    def _sort(self) -> None:
        """Keep the best, in order; of equal returns the earlier one comes first."""
        ordered = sorted(self.found.items(), key=lambda item: (-item[1][0], item[1][1], item[0]))
        self.found = dict(ordered[:KEEP])

    def _sequences(self, rollout: Rollout) -> list[bytes]:
        """Return the keys of the sequences that ended in a rollout, environment by environment."""
        tokens = self.packer.unpack(rollout.obs)[self.token]  # (T, N)
        actions = torch.where(rollout.valid, rollout.actions, -1)
        rows = torch.stack([tokens.to(torch.int32), actions.to(torch.int32)], -1).transpose(0, 1)
        table = rows.cpu().contiguous().numpy()  # (N, T, 2)
        starts, (envs, ends) = rollout.starts[0].cpu().numpy(), rollout.done.T.cpu().numpy().nonzero()
        before = self.under_way or [table[0, :0]] * len(table)
        before = [cut[:0] if new else cut for cut, new in zip(before, starts, strict=True)]
        keys, begin = list[bytes](), [0] * len(table)
        for n, t in zip(envs.tolist(), ends.tolist(), strict=True):
            keys.append(_key(before[n], table[n, begin[n] : t + 1]))
            before[n], begin[n] = before[n][:0], t + 1
        self.under_way = [np.concatenate([cut, table[n, begin[n] :]]) for n, cut in enumerate(before)]
        return keys

    def lines(self) -> list[dict[str, Any]]:
        """Return the best sequences, the best first, as JSON values."""
        return [
            {"return": value, "step": step} | describe(np.frombuffer(key, np.int32).reshape(-1, 2), self.vocabulary)
            for key, (value, step) in self.found.items()
        ]

    def render(self) -> list[str]:
        """Return a text line for each of the best sequences to log."""
        return [f"{line['return']:8.3f}  {as_text(line)}" for line in self.lines()[:SHOWN]]

    def write(self, run_dir: Path) -> None:
        """Write best.jsonl into a run's folder, if a sequence has ended.

        Raises:
            UsageError: the folder cannot be written.
        """
        if self.found:
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines())
            write_atomically(run_dir / FILE, text.encode())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the best sequences and the hashes, by name; nothing before a sequence has ended."""
        if not self.found:
            return {}
        values, steps = zip(*self.found.values(), strict=True)
        rows = np.frombuffer(b"".join(self.found), np.int32).reshape(-1, 2)
        return {
            "best.returns": torch.tensor(values, dtype=torch.float64),
            "best.steps": torch.tensor(steps),
            "best.lengths": torch.tensor([len(key) // rows[0].nbytes for key in self.found]),
            "best.rows": torch.from_numpy(rows.copy()),
            "best.hashes": torch.tensor(sorted(self.distinct.kept)),
            "best.counts": torch.tensor([self.finished, self.distinct.level]),
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned; without it, begin with nothing."""
        if "best.returns" not in tensors:
            return
        returns, steps, lengths = (tensors[f"best.{name}"].tolist() for name in ("returns", "steps", "lengths"))
        keys = [rows.numpy().tobytes() for rows in tensors["best.rows"].split(lengths)]
        self.found = dict(zip(keys, zip(returns, steps, strict=True), strict=True))
        self.finished, self.distinct.level = tensors["best.counts"].tolist()
        self.distinct.kept = set(tensors["best.hashes"].tolist())


def _key(before: np.ndarray, rows: np.ndarray) -> bytes:
    """Return the key of a sequence; a finished one that waited for its group has rows without a decision at its end."""
    own = np.concatenate([before, rows]) if len(before) else rows
    if own[-1, 1] < 0:
        own = own[: np.flatnonzero(own[:, 1] >= 0)[-1] + 1]
    return own.tobytes()


def describe(rows: np.ndarray, vocabulary: Tokens) -> dict[str, Any]:
    """Return what a sequence's rows (k, 2) say, as texts.

    Returns:
        prompt; response, all of what follows; turns, the policy's and the environment's alternately; and ended, whether the
        last token is an end token.
    """
    decided = (rows[:, 1] >= 0).tolist()
    tokens = np.where(decided, rows[:, 1], np.append(rows[1:, 0], -1)).tolist()  # the one that follows each row's
    prompt = decided.index(True)
    turns: list[list[int]] = [tokens[prompt : prompt + 1]]
    for n in range(prompt + 1, len(tokens)):
        empty_reply = decided[n - 1] and tokens[n - 1] == vocabulary.end and decided[n]
        turns += [[] for _ in range(2 * empty_reply or decided[n] != decided[n - 1])]
        turns[-1].append(tokens[n])
    texts = [vocabulary.decode(turn) for turn in turns]
    ended = tokens[-1] == vocabulary.end
    return {
        "prompt": vocabulary.decode(tokens[:prompt]), "response": vocabulary.decode(tokens[prompt:]), "turns": texts,
        "ended": ended,
    }  # fmt: skip


def as_text(line: dict[str, Any]) -> str:
    """Return a line of best.jsonl as a person reads it, as a `Completion` shows itself."""
    return f"{line['prompt']} → {' / '.join(line['turns'])}{'' if line['ended'] else ' …'}"
