"""Memory: the least that a run needs, estimated before anything is allocated."""

import itertools
import math
import os
from typing import Any

from gymnasium.spaces import Space

from ppo.envs.spaces import Packer, check_space
from ppo.errors import UsageError

FLOAT = 4  # bytes
ROW = 8 * FLOAT  # action, log-probability, reward, values, next values and flags of a step, without the observation
ENVIRONMENT = 1000  # bytes of the smallest environment
COPIES = 4  # of each weight: itself, its gradient and Adam's two moments


def check_memory(config: Any, obs_space: Space[Any] | None = None) -> None:
    """Refuse settings whose environments, rollout or weights certainly exceed the machine's memory.

    Args:
        config: a `Config`; while its policy is "auto", only its last hidden layer counts.
        obs_space: of one observation; None: one byte.

    Raises:
        UsageError: names the setting of the largest part, and both sizes; or the space is not supported.
    """
    obs_bytes = 1
    if obs_space is not None:
        check_space(obs_space, "observation")
        obs_bytes = Packer(obs_space).row_bytes
    environments, layers = config.num_envs * ENVIRONMENT, config.num_layers
    rollout = config.num_envs * config.num_steps * (ROW + obs_bytes)
    states = 6 * layers * config.state_size**2 if config.policy == "gru" else 0  # weights of a layer's three gates
    window = 2 * config.num_envs * layers * config.context if config.policy == "transformer" else 0  # one number a step
    parts = {
        f"num_envs = {config.num_envs}": environments,
        f"num_envs * num_steps = {config.batch_size}": rollout,
        f"hidden_sizes = {config.hidden_sizes}": _weights(config) * COPIES * FLOAT,
        f"state_size = {config.state_size}": states * COPIES * FLOAT,
        f"context = {config.context}": window * FLOAT,
    }
    largest, total = max(parts, key=lambda name: parts[name]), memory()
    if sum(parts.values()) > total:
        raise UsageError(
            f"{largest} is too large: the run needs at least {sum(parts.values()) / 1e9:,.0f} GB of memory, and this machine "
            f"has {total / 1e9:,.0f} GB"
        )


def _weights(config: Any) -> int:
    """Return a lower bound of the number of weights between hidden layers."""
    sizes = config.hidden_sizes
    if config.policy == "mlp":  # of the actor and of the critic
        return 2 * sum(a * b for a, b in itertools.pairwise((1, *sizes)))
    return 12 * sizes[-1] ** 2 * config.num_layers if config.policy == "transformer" and sizes else sum(sizes[-1:])


def memory() -> float:
    """Return the bytes of the machine's memory; infinity where the system does not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return math.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
