"""Infos: the keys of a VectorEnv's infos that are read, as arrays over the environments."""

from typing import Any

import numpy as np

from ppo.errors import UsageError


def valid(infos: dict[str, Any], num_envs: int) -> np.ndarray:
    """Return (N,) bool: whether the next action is a decision; True where the environment does not report it."""
    reported = infos.get("_valid", np.full(num_envs, "valid" in infos))  # (N,)
    return np.where(reported, infos.get("valid", True), True).astype(bool)


def episode_metrics(infos: dict[str, Any], names: tuple[str, ...]) -> np.ndarray:
    """Return the environments' own metrics (N, M), meaningful where an episode ended.

    Raises:
        UsageError: one of the names is missing.
    """
    metrics = infos.get("final_info", infos).get("metrics", {})
    for name in names:
        if name not in metrics:
            raise UsageError(
                f"metadata['metrics'] names {name!r}, but info['metrics'] at the end of an episode lacks it"
            )
    return np.stack([metrics[name] for name in names], axis=-1)
