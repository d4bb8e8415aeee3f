"""Infos: what a VectorEnv says beside observations and rewards, as far as it is read."""

from typing import Any

import numpy as np

from ppo.errors import UsageError


def valid(infos: dict[str, Any], num_envs: int) -> np.ndarray:
    """Return (N,) bool: the next step depends on the action; so it does where an environment does not say."""
    given = infos.get("_valid", np.full(num_envs, "valid" in infos))  # by which environments
    return np.where(given, infos.get("valid", True), True).astype(bool)


def measured(infos: dict[str, Any], names: tuple[str, ...]) -> np.ndarray:
    """Return (N, M): what the environments measured where an episode ended.

    Raises:
        UsageError: one of the names is missing.
    """
    found = infos.get("final_info", infos).get("metrics", {})
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(f"metadata['metrics'] names {missing[0]!r}, but info['metrics'] of an episode's end has none")
    return np.stack([found[name] for name in names], axis=-1)
