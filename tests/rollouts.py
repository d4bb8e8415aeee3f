"""Rollouts whose every number tells the row that it stands in."""

import torch

from ppo.loop.rollout import Rollout, Successors


def numbered(steps: int, envs: int) -> torch.Tensor:
    """Return (T, N) with the row's number t · N + n."""
    return torch.tensor([[t * envs + n for n in range(envs)] for t in range(steps)])


def make_rollout(steps: int, envs: int, width: int = 1) -> Rollout:
    """Return a rollout whose every number tells the row it stands in; the last rows' successors are observed as 100 + n."""
    row = numbered(steps, envs).float()
    no = torch.zeros(steps, envs, dtype=torch.bool)
    return Rollout(
        obs=row.unsqueeze(-1).repeat(1, 1, 2), states=row.unsqueeze(-1).repeat(1, 1, width) + 0.5, starts=no, valid=~no,
        actions=row.long(), log_probs=-row, rewards=row * 10, penalties=row * 0, kl_coefs=row * 0, reference=row.new_zeros(*row.shape, 0), terminated=no, truncated=no, value_ends=no, values=row + 1000,
        next_values=row + 2000, next_valid=~no[0], successors=Successors(
            rows=numbered(steps, envs)[-1],
            obs=100 + torch.arange(envs).float().unsqueeze(-1).repeat(1, 2),
            states=torch.zeros(envs, width),
        ),
    )  # fmt: skip
