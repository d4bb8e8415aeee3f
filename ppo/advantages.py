"""Generalised advantage estimation over a rollout in which every row knows the value of its successor."""

import numpy as np


def gae(
    rewards: np.ndarray,  # (T, N)
    values: np.ndarray,  # (T, N)
    next_values: np.ndarray,  # (T, N)
    terminated: np.ndarray,  # (T, N) bool
    truncated: np.ndarray,  # (T, N) bool
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Return the advantages Âₜ = Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ), shape (T, N).

    `terminated` stops the bootstrap: V(sₜ₊₁) counts as 0. Either flag stops the trace: the sum does not cross into the
    next episode. There is no case for the last row, because its successor's value is in `next_values` like any other's.
    NumPy, because a loop over T in torch operations spends its time on their overhead. (Schulman et al. 2016, eq. 16.)
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    decay = (gamma * gae_lambda) * ~(terminated | truncated)
    advantages, trace = np.empty_like(deltas), np.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        advantages[t] = trace = deltas[t] + decay[t] * trace
    return advantages
