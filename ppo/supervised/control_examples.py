"""Demonstrations of any environment as sequences to learn by maximum likelihood, with returns for the critic."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ppo.config import Config
from ppo.demonstrations import read
from ppo.demonstrations.format import PAGE
from ppo.envs.spaces import Packer
from ppo.errors import UsageError
from ppo.loop.trainer import Trainer
from ppo.supervised.returns import Returns
from ppo.supervised.streams import Window
from ppo.text.corpus import split

CHUNK = 4096  # rows that the statistics absorb at once
NO_REWARDS = "the demonstrations have no rewards, so the critic does not learn; begin PPO with --critic-warmup"


class ControlExamples:
    """Recorded episodes; see `ppo.supervised.pretrain.Examples`.

    A recurrent policy reads whole episodes; for a feed-forward one each row is a sequence of its own, in random order.

    Args:
        trainer: of the policy; its statistics of observations and rewards absorb the training episodes.
        source: see `ppo.demonstrations.read`.

    Raises:
        UsageError: see `read`; or there is a single episode, or a mask that forbids the recorded action.
    """

    tag = "eval/loss"
    score = staticmethod(float)

    def __init__(self, trainer: Trainer, source: str) -> None:
        config, policy = trainer.config, trainer.policy
        space, self.device = trainer.envs.single_observation_space, trainer.parts.device.value
        self.demonstrations = read(source, space, trainer.envs.single_action_space)
        packer, head = Packer(space), policy.head
        self.obs = packer.join(self.demonstrations.observations)  # (M, *obs)
        self.actions = head.from_env(self.demonstrations.actions)  # (M, *action)
        self.valid = torch.from_numpy(self.demonstrations.valid)  # (M,)
        _check_mask(packer, head, self, source)
        episodes = self.demonstrations.episodes
        self.starts = torch.zeros(len(self.obs), dtype=torch.bool)
        self.starts[[rows.start for rows in episodes]] = True
        training, held_out = split(episodes, source, "episodes", 2)
        rng, recurrent = np.random.default_rng(config.seed), policy.state_size > 0
        self.training = _pieces(training, rng, recurrent, config.num_envs)
        self.held_out = _pieces(held_out, np.random.default_rng(0), recurrent, config.num_envs)
        self.windows = math.ceil(sum(map(len, held_out)) / config.batch_size)
        self.distinct = sum(int(self.valid[rows.start : rows.stop].sum()) for rows in held_out)
        rows = np.concatenate([np.array(rows) for rows in training])
        for part in np.array_split(rows, math.ceil(len(rows) / CHUNK)):
            policy.update_statistics(*(x[part].to(self.device).unsqueeze(1) for x in (self.obs, self.valid)))
        rewarded = self.demonstrations.rewards is not None
        self.returns = Returns(self.demonstrations, trainer.learner.estimator, self.device) if rewarded else None
        self.notes = ([] if rewarded else [NO_REWARDS]) + _other_environment(self.demonstrations.metadata, config)

    def window(self, table: np.ndarray) -> Window:
        """Return the window of rows (1, T, N)."""
        rows = torch.from_numpy(table[0])
        columns = (self.obs[rows], self.starts[rows], self.valid[rows], self.actions[rows], rows)
        return Window(*(x.to(self.device) for x in columns))


def _other_environment(metadata: dict[str, Any], config: Config) -> list[str]:
    """Return a note if the demonstrations are of another environment than the run, or of one with other arguments."""
    recorded, own = ((about.get("env_id"), about.get("env_kwargs", {})) for about in (metadata, config.to_json()))
    names = (
        f"{env_id}{''.join(f', {name} {value}' for name, value in kwargs.items())}"
        for env_id, kwargs in (recorded, own)
    )
    different = "env_id" in metadata and recorded != own
    return ["the demonstrations are of {}, the run is of {}".format(*names)] if different else []


def _pieces(episodes: list[range], rng: np.random.Generator, whole: bool, parts: int) -> Iterator[np.ndarray]:
    """Yield rows (1, L) endlessly: whole episodes in random order, or all rows in random order in this many parts."""
    rows = np.concatenate([np.array(rows) for rows in episodes])
    while True:
        if whole:
            yield from (np.array(episodes[n])[None] for n in rng.permutation(len(episodes)))
        else:
            yield from (part[None] for part in np.array_split(rng.permutation(rows), parts) if len(part))


def _check_mask(packer: Packer, head: Any, examples: ControlExamples, source: str) -> None:
    mask = packer.mask(examples.obs)
    if mask is None:
        return
    offsets = torch.tensor([0, *head.sizes[:-1]]).cumsum(0)
    allowed = mask.gather(1, examples.actions.reshape(len(mask), -1).long() + offsets).all(1)
    bad = (~allowed & examples.valid).nonzero()
    if len(bad):
        raise UsageError(f"{source} has an action in row {int(bad[0])} that its action mask does not allow", PAGE)
