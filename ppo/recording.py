"""Record episodes that a run's policy plays, as demonstrations for `ppo pretrain`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo.config.words import override
from ppo.demonstrations.format import names, write
from ppo.envs.spaces import Packer
from ppo.errors import UsageError
from ppo.evaluation import Report, evaluate
from ppo.loop.collector import Collector
from ppo.loop.play import shares_of
from ppo.loop.rollout import Rollout
from ppo.run.checkpoint import checkpoint_path, read_checkpoint
from ppo.run.files import check_plain


class Recorder:
    """Keep the episodes that `play` counts, step by step: from each environment an equal share of those that start first.

    Args:
        episodes: to keep.
    """

    def __init__(self, episodes: int) -> None:
        self.episodes = episodes
        self.rows: list[list[tuple[Tensor, Any, np.ndarray]]] = []  # by environment: observations, actions, the rest

    def __call__(self, collector: Collector, rollout: Rollout) -> None:
        """Keep what a rollout adds to them."""
        if not self.rows:
            self.rows = [[] for _ in range(collector.envs.num_envs)]
            self.head, self.space = collector.head, collector.space
            self.shares = list(shares_of(collector, self.episodes).values())
            self.ended = np.zeros(len(self.rows), np.int64)
            self.alive = np.zeros(len(self.rows), bool)
        columns = (rollout.rewards, rollout.terminated, rollout.truncated, rollout.valid)
        numbers = np.stack([x.cpu().numpy().astype(np.float64) for x in columns], axis=-1)  # (T, N, 4)
        starts, done = rollout.starts.cpu().numpy(), rollout.done.cpu().numpy()
        kept = np.zeros_like(done)
        for t in range(len(done)):  # a row after an end and before the next start only resets the environment
            self.alive |= starts[t]
            kept[t] = self.alive & (self.ended < self.shares)
            self.alive &= ~done[t]
            self.ended += done[t]
        for n, rows in enumerate(self.rows):
            index = np.flatnonzero(kept[:, n])
            rows.append((rollout.obs[index, n].cpu(), rollout.actions[index, n].cpu(), numbers[index, n]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of `ppo.demonstrations.format`; the last step of an episode that was cut is truncated."""
        columns: dict[str, list[np.ndarray]] = {}
        packer = Packer(self.space)
        for rows in self.rows:
            obs, actions, numbers = zip(*rows, strict=True)
            values = np.concatenate(numbers)  # (M, 4)
            if not len(values):
                continue
            values[-1, 2] = max(values[-1, 2], 1 - values[-1, 1])
            unpacked = packer.unpack(torch.cat(obs))
            seen = [leaf.unpacked(x.numpy()) for (_, leaf), x in zip(packer.leaves, unpacked, strict=True)]
            done = self.head.leaves_to_env(torch.cat(actions).numpy())
            flags = values[:, 1:].astype(bool).T
            named = dict(zip(names(self.space, "observations"), seen, strict=True))
            named |= dict(zip(names(self.head.space, "actions"), done, strict=True))
            named |= {
                "rewards": values[:, 0],
                **dict(zip(("terminations", "truncations", "valid"), flags, strict=True)),
            }
            for name, x in named.items():
                columns.setdefault(name, []).append(x)
        arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
        if arrays["valid"].all():
            del arrays["valid"]
        return arrays


def record(run: str | Path, out: str | Path, episodes: int = 50, **options: Any) -> Report:
    """Play episodes with a run's policy, and write them as demonstrations.

    Args:
        run: the run's folder.
        out: the file, an NPZ; see `ppo.demonstrations.format`.
        episodes: to play; each of up to 16 environments plays an equal share, so that short ones are not preferred.
        options: as for `evaluate`: deterministic, checkpoint, seed, env_kwargs, max_steps, trust.

    Returns:
        The report of `evaluate` on these episodes.

    Raises:
        UsageError: see `evaluate`; or the run writes text, or the file cannot be written.
    """
    path = Path(out).absolute()
    if not path.parent.is_dir() or path.suffix != ".npz":
        raise UsageError(f"cannot write {out}; choose a name that ends with .npz in a folder that exists")
    check_plain(path)
    meta = read_checkpoint(checkpoint_path(Path(run), options.get("checkpoint", "latest")))[1]
    if "symbols" in meta["spaces"]:
        raise UsageError(f"{run} writes text, whose demonstrations are lines of a file; write them with `ppo sample`")
    recorder = Recorder(episodes)
    report = evaluate(run, episodes, keep=recorder, told=True, **options)
    arguments = [meta["config"].get(name, {}) for name in ("env_kwargs", "eval_env_kwargs")]
    kind = "deterministic" if report.deterministic else "sampled"
    metadata = {
        "env_id": meta["config"]["env_id"], "env_kwargs": override(*arguments, options.get("env_kwargs") or {}),
        "spaces": meta["spaces"], "author": "ppo",
        "policy": f"{Path(run).name}, {report.checkpoint} checkpoint at step {meta['global_step']}, {kind}",
    }  # fmt: skip
    write(path, recorder.arrays(), metadata)
    return report
