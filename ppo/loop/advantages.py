"""Advantages and returns over a rollout in which every row knows the value of its successor."""

import numpy as np


def gae(
    rewards: np.ndarray,  # (T, N)
    values: np.ndarray,  # (T, N)
    next_values: np.ndarray,  # (T, N)
    terminated: np.ndarray,  # (T, N) bool
    truncated: np.ndarray,  # (T, N) bool
    valid: np.ndarray,  # (T, N) bool
    gamma: float,
    gae_lambda: float,
    next_valid: np.ndarray | bool = True,  # (N,) or of all: the row after the last one is valid
) -> np.ndarray:
    """Return the advantages Âₜ = Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ), shape (T, N).

    `terminated` stops the bootstrap: V(sₜ₊₁) counts as 0. Either flag stops the trace: the sum does not cross into the
    next episode. There is no case for the last row, because its successor's value is in `next_values` like any other's.
    NumPy, because a loop over T in torch operations spends its time on their overhead. (Schulman et al. 2016, eq. 16.)

    A row that is not valid, where the environment goes on by itself, takes no time: it is worth its reward and what the
    next row is worth, and is neither discounted nor decayed. So a decision is followed by the next one. Where the rows end
    before that one, nothing is known of what came of it: its advantage is 0, and those before it go by its value. The
    value of a row that is not valid is never asked for; nothing has trained it.
    """
    done = terminated | truncated
    unknown = ~done[-1] & ~np.asarray(next_valid)  # (N,) the rows end before the next decision
    discount = np.where(valid, gamma, 1.0).astype(values.dtype)
    decay = np.where(valid, gamma * gae_lambda, 1.0) * ~done
    known = np.ones_like(valid)
    if unknown.any() or not valid.all():
        values, next_values = values.copy(), next_values.copy()
        for t in reversed(range(len(values))):
            if t + 1 < len(values):
                skipped = ~valid[t + 1] & ~done[t]
                next_values[t] = np.where(skipped, values[t + 1], next_values[t])
            values[t] = np.where(valid[t], values[t], rewards[t] + next_values[t] * ~terminated[t])
            unknown = unknown & ~done[t]
            known[t] = ~unknown
            unknown = unknown & ~valid[t]
    deltas = np.where(known, rewards + discount * next_values * ~terminated - values, 0)
    advantages, trace = np.empty_like(deltas), np.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        advantages[t] = trace = deltas[t] + decay[t] * trace
    return advantages


def rewards_to_go(rewards: np.ndarray, done: np.ndarray) -> np.ndarray:
    """Return Rₜ = Σₖ rₜ₊ₖ to the end of the episode or of the rollout, (T, N), from rewards and done (T, N)."""
    found, after = np.empty_like(rewards), np.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        found[t] = after = rewards[t] + after * ~done[t]
    return found
