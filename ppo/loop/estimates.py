"""Estimates: which rows of a rollout to train on, how much better their actions were than expected, and what they returned."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppo.config import Config
from ppo.config.penalty import distils
from ppo.config.setting import schedules
from ppo.loop.advantages import (
    above_quantile,
    gae,
    group_complete,
    group_relative,
    outcome_known,
    repeats,
    whole_returns,
)
from ppo.loop.reward_scaling import RewardScaler
from ppo.loop.rollout import Rollout


class Estimates(NamedTuple):
    """What the loss needs beyond the rollout itself; (T, N) each."""

    values: Tensor
    advantages: (
        Tensor  # weights of the log-probabilities: advantages, returns, or returns relative to a group or a quantile
    )
    returns: Tensor  # advantages + values, what the critic learns


class Estimator:
    """Estimate advantages and returns as the settings say.

    Args:
        config: discounts, groups, scaling of rewards.
        written: episodes are texts that the policy writes, so that it can repeat one.
    """

    def __init__(self, config: Config, written: bool = False) -> None:
        self.config, self.written = config, written
        gamma = schedules(config)["gamma"].highest_end
        self.scaler = RewardScaler(gamma, config.num_envs) if config.scale_rewards else None

    def rewards(self, rollout: Rollout) -> np.ndarray:
        """Return the rewards to learn from (T, N): clipped, less the penalties, scaled, which updates the statistics."""
        rewards = self.earned(rollout)
        return rewards if self.scaler is None else self.scaler.scale(rewards, *_on_host(rollout.starts, rollout.valid))

    def earned(self, rollout: Rollout) -> np.ndarray:
        """Return the environment's clipped rewards (T, N) less the penalties."""
        return self.clipped(rollout.rewards.cpu().numpy()) - rollout.penalties.cpu().numpy()

    def clipped(self, rewards: np.ndarray) -> np.ndarray:
        """Return the environment's rewards, clipped if the settings say so, or zeros if nothing is learnt from them."""
        if self.config.reward == "none":
            return np.zeros_like(rewards)
        bound = self.config.clip_rewards
        return np.clip(rewards, -bound, bound) if bound else rewards

    def trained(self, rollout: Rollout) -> Tensor:
        """Return (T, N) bool: the decisions to train on, those whose outcome is known."""
        valid, settled, next_valid = _on_host(rollout.valid, rollout.settled, rollout.next_valid)
        groups = self.config.group_size
        known = group_complete(settled, groups) if groups > 1 else outcome_known(valid, settled, next_valid)
        if self.config.risk_quantile:
            known &= self.risk(rollout, self.earned(rollout))[1]
        return rollout.valid & torch.from_numpy(known).to(rollout.valid.device)

    def risk(self, rollout: Rollout, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far the returns of the rows' episodes are above their quantile, (T, N), and which rows train, (T, N) bool.

        Only episodes that lie inside the rollout count, and without groups each text once, however often the policy repeats it:
        the quantile would else be the return of what it repeats, and nothing above it would train. All rows of an episode have
        its whole return.

        Args:
            rollout: (T, N).
            rewards: (T, N) to learn from.
        """
        starts, done = _on_host(rollout.starts, rollout.done)
        returns, whole = whole_returns(rewards, starts, done)
        if self.written and self.config.group_size == 1:
            chosen = torch.where(rollout.valid, rollout.actions, -1)  # while a prompt is shown, actions are ignored
            parts = [x.cpu().reshape(*whole.shape, -1).contiguous().view(torch.uint8) for x in (rollout.obs, chosen)]
            whole &= ~repeats(torch.cat(parts, -1).numpy(), whole, starts, done)
        above = above_quantile(returns, whole & starts, self.config.risk_quantile, self.config.group_size)
        return above, whole & (above >= 0)

    def estimates(self, rollout: Rollout, rewards: np.ndarray, gamma: float) -> Estimates:
        """Return the estimates from a rollout with its values, the rewards (T, N) to learn from, and the discount."""
        config = self.config
        values, next_values = _on_host(rollout.values, rollout.next_values)
        closed, truncated = _on_host(rollout.terminated | rollout.value_ends, rollout.truncated)
        valid, next_valid = _on_host(rollout.valid, rollout.next_valid)
        flags, trace = (closed, truncated, valid), (gamma, config.gae_lambda)
        host = gae(rewards, values, next_values, *flags, *trace, next_valid)
        advantages = torch.from_numpy(host).to(rollout.values)  # (T, N)
        returns = advantages + rollout.values
        weights = advantages if config.baseline else returns
        own = self.earned(rollout) if config.group_size > 1 or config.risk_quantile else rewards
        if config.risk_quantile:
            weights = torch.from_numpy(self.risk(rollout, own)[0]).to(weights)
        elif config.group_size > 1:
            weights = group_relative(own, rollout.settled.cpu().numpy(), config.group_size).to(weights)
        if distils(config):  # the critic's errors are not a reason to act otherwise
            weights = torch.zeros_like(weights)
        return Estimates(rollout.values, weights, returns)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the statistics of rewards, by name."""
        stats = {} if self.scaler is None else self.scaler.stats.state_dict()
        return {f"scaler.{name}": x for name, x in stats.items()}

    def take_scale(self, tensors: dict[str, Tensor]) -> None:
        """Take over the statistics of rewards of another run, in whose units its critic is; {}: it has none."""
        if self.scaler is not None and tensors:
            self.scaler.stats.load_state_dict({name.removeprefix("scaler."): x for name, x in tensors.items()})


def _on_host(*tensors: Tensor) -> list[np.ndarray]:
    return [x.cpu().numpy() for x in tensors]


def explained_variance(values: Tensor, returns: Tensor, valid: Tensor) -> float:
    """Return 1 − Var[R − V] / Var[R] over valid rows: 1 is perfect, 0 as good as a constant, NaN if R is constant."""
    values, returns = values[valid], returns[valid]
    variance = returns.var(correction=0) if len(returns) else returns.new_zeros(())
    return float(1 - (returns - values).var(correction=0) / variance) if variance > 0 else float("nan")
