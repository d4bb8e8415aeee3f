"""Advantages over a rollout in which every row knows the value of its successor."""

import numpy as np
import torch
from torch import Tensor

LEAST_DEVIATION = 1e-4  # added to that of a group's returns, which may be equal


def outcome_known(valid: np.ndarray, settled: np.ndarray, next_valid: np.ndarray | bool = True) -> np.ndarray:
    """Return (T, N) bool: the episode or the value ends, or another decision follows, before the rows end.

    Args:
        valid: (T, N) bool, the row is a decision.
        settled: (T, N) bool, the row ends its episode or its value.
        next_valid: (N,) bool, the row after the last one is a decision.
    """
    known = settled | _next_is_decision(valid, next_valid)
    return np.logical_or.accumulate(known[::-1])[::-1].copy()  # torch takes no negative strides


def gae(
    rewards: np.ndarray,  # (T, N)
    values: np.ndarray,  # (T, N)
    next_values: np.ndarray,  # (T, N)
    value_ends: np.ndarray,  # (T, N) bool: terminated, or the environment ends the value there
    truncated: np.ndarray,  # (T, N) bool
    valid: np.ndarray,  # (T, N) bool
    gamma: float,
    gae_lambda: float,
    next_valid: np.ndarray | bool = True,  # (N,) bool: the row after the last one is a decision
) -> np.ndarray:
    """Return the advantages Âₜ = Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ), shape (T, N).

    `value_ends` stops the bootstrap: V(sₜ₊₁) counts as 0. Either flag stops the trace: the sum does not cross into the
    next episode. There is no case for the last row, because its successor's value is in `next_values` like any other's.
    (Schulman et al. 2016, equation 16. NumPy, because a loop of torch operations over T is mostly overhead.)

    A row that is not a decision takes no time: γ is 1 there, and λ is 1 on the way into it. So its own value cancels, and a
    decision is credited with all rewards up to the next decision. If the rows end before that one, the outcome is not known:
    the advantage is 0, and earlier decisions bootstrap from the value.
    """
    settled = value_ends | truncated
    discount = np.where(valid, gamma, 1.0) * ~value_ends
    decay = np.where(_next_is_decision(valid, next_valid), gae_lambda, 1.0) * ~settled
    carry, discount = discount * decay, discount.astype(values.dtype)
    deltas = outcome_known(valid, settled, next_valid) * (rewards + discount * next_values - values)
    advantages, trace = np.empty_like(deltas), np.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        advantages[t] = trace = deltas[t] + carry[t] * trace
    return advantages


def _next_is_decision(valid: np.ndarray, next_valid: np.ndarray | bool) -> np.ndarray:
    """Return (T, N) bool: the next row is a decision."""
    return np.concatenate([valid[1:], np.broadcast_to(next_valid, (1, valid.shape[1]))])


def group_relative(rewards: np.ndarray, done: np.ndarray, group_size: int) -> Tensor:
    """Return (R − mean R) / deviation of R among the responses to one prompt, (T, N) (Shao et al. 2024, section 4.1.2).

    R is the sum of the rewards from a row on.

    Args:
        rewards: (T, N).
        done: (T, N) bool.
        group_size: G, neighbouring environments that share a prompt.
    """
    returns = torch.from_numpy(rewards_to_go(rewards, done)).unflatten(1, (-1, group_size))  # (T, N / G, G)
    above = returns - returns.mean(2, keepdim=True)
    return (above / (returns.std(2, correction=0, keepdim=True) + LEAST_DEVIATION)).flatten(1)


def group_complete(done: np.ndarray, group_size: int) -> np.ndarray:
    """Return (T, N) bool: every response of the row's group ends before the rows end, so that the returns compare.

    Args:
        done: (T, N) bool.
        group_size: G, neighbouring environments that share a prompt.
    """
    ends = np.logical_or.accumulate(done[::-1])[::-1]  # (T, N)
    return ends.reshape(len(done), -1, group_size).all(2).repeat(group_size, 1)


def count_ends(valid: np.ndarray, closed: np.ndarray, truncated: np.ndarray) -> tuple[int, int]:
    """Return the number of decisions, and of the ends of values that followed a decision; a time limit counts as two.

    Args:
        valid: (T, N) bool, the row is a decision.
        closed: (T, N) bool, the row ends an episode or a life.
        truncated: (T, N) bool, a time limit cuts the episode.
    """
    decided, ends = np.zeros(valid.shape[1], bool), 0
    for t in range(len(valid)):
        decided |= valid[t]  # since the last end; later rows of an agent that has left the game end nothing
        ends += int((decided & closed[t]).sum() + 2 * (decided & truncated[t] & ~closed[t]).sum())
        decided &= ~(closed[t] | truncated[t])
    return int(valid.sum()), ends


def rewards_to_go(rewards: np.ndarray, done: np.ndarray) -> np.ndarray:
    """Return Rₜ = Σₖ rₜ₊ₖ to the end of the episode or of the rollout, (T, N), from rewards and done (T, N)."""
    returns, later = np.empty_like(rewards), np.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        returns[t] = later = rewards[t] + later * ~done[t]
    return returns


def whole_returns(rewards: np.ndarray, starts: np.ndarray, done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the undiscounted return of each row's whole episode, (T, N), and (T, N) bool: it begins and ends among the rows.

    Args:
        rewards: (T, N).
        starts: (T, N) bool, the row begins an episode.
        done: (T, N) bool, the row ends its episode.
    """
    returns, whole = rewards_to_go(rewards, done), np.logical_or.accumulate(done[::-1])[::-1] & starts
    for t in range(1, len(returns)):
        goes_on = ~starts[t] & ~done[t - 1]
        returns[t] = np.where(goes_on, returns[t - 1], returns[t])
        whole[t] |= goes_on & whole[t - 1]
    return returns, whole


def repeats(rows: np.ndarray, whole: np.ndarray, starts: np.ndarray, done: np.ndarray) -> np.ndarray:
    """Return (T, N) bool: the row's episode has the same rows as a whole one that ended before it, or at its time further left.

    Args:
        rows: (T, N, B) uint8, what the policy saw and did.
        whole: (T, N) bool, the row's episode begins and ends among the rows.
        starts: (T, N) bool, the row begins an episode.
        done: (T, N) bool, the row ends its episode.
    """
    # Sorting the rows themselves took a fifth of the time of a run of Formulas. Different rows have the same hash with a probability below 2^−56.
    weights = np.random.default_rng(0).integers(2**64, size=rows.shape[-1], dtype=np.uint64)
    texts = rows.astype(np.uint64) @ weights  # (T, N) modulo 2^64
    for t in range(1, len(texts)):  # a polynomial of the hashes of an episode's rows so far
        texts[t] += np.where(starts[t], np.uint64(0), texts[t - 1] * np.uint64(0x9E3779B97F4A7C15))
    ends = whole & done
    repeated = np.ones(np.count_nonzero(ends), bool)
    repeated[np.unique(texts[ends], return_index=True)[1]] = False
    result = np.zeros(whole.shape, bool)
    result[ends] = repeated
    for t in range(len(result) - 2, -1, -1):
        result[t] |= result[t + 1] & ~done[t]
    return result


def above_quantile(returns: np.ndarray, episodes: np.ndarray, share: float, group_size: int = 1) -> np.ndarray:
    """Return R − R_ε, (T, N), with R_ε the (1 − ε)-quantile of the returns (Petersen et al. 2021, section 3.3).

    Args:
        returns: (T, N) R of each row's episode.
        episodes: (T, N) bool, one row of each episode whose return counts.
        share: ε.
        group_size: G; above 1, the quantile is that of the responses to the same prompt, G neighbouring environments, and the
            distance to it is divided by the deviation of their returns, as in `group_relative`.
    """
    if group_size == 1:
        return returns - (np.quantile(returns[episodes], 1 - share) if episodes.any() else 0.0)
    groups = returns.reshape(len(returns), -1, group_size)
    above = groups - np.quantile(groups, 1 - share, axis=2, keepdims=True)
    return (above / (groups.std(2, keepdims=True) + LEAST_DEVIATION)).reshape(returns.shape)
