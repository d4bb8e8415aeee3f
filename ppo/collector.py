"""The collector: steps the environments with the policy and hands over a rollout, whatever the autoreset mode."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from ppo.envs import autoreset_mode
from ppo.envs.spaces import leaf_values, mask_columns, pack, take
from ppo.errors import NonFiniteError, UsageError
from ppo.policies import Policy
from ppo.rollout import Cuts, Rollout

# Columns that must be finite, in the order in which they arise.
CHECKED = ("obs", "values", "log_probs", "rewards")


MAX_STEPS = 27_000  # the longest episode that is usual anywhere: Atari's 108,000 frames


@dataclass(frozen=True)
class Episode:
    """An episode that ended in a rollout, in raw rewards."""

    env: int
    episode_return: float
    length: int
    ended: bool = True  # False where `play` gave up on it


class Collector:
    """Step N environments T times and return what came of it.

    The three autoreset modes become one stream of rows here and nowhere else. NEXT_STEP inserts a dead row after each
    episode (`valid` is False); its observation is the true successor of the row before it. SAME_STEP and DISABLED have
    no dead rows; the true successor of a truncated row goes to the rollout's `cuts`.

    Args:
        envs: from `ppo.envs.check_envs`.
        policy: acts, and values what was seen.
        num_steps: T.
        deterministic: take each distribution's mode instead of a sample.
    """

    def __init__(self, envs: VectorEnv, policy: Policy, num_steps: int, deterministic: bool = False) -> None:
        self.envs, self.policy, self.num_steps, self.deterministic = envs, policy, num_steps, deterministic
        self.space, self.mode = envs.single_observation_space, autoreset_mode(envs)
        self.device = next(policy.parameters()).device
        self.mask = mask_columns(self.space)
        self.seconds = self.env_seconds = 0.0  # of the last collect, and of envs.step within it
        self.step = 0  # vector steps since the last reset

    def reset(self, seed: int) -> None:
        """Begin new episodes in all environments, seeded."""
        obs, _ = self.envs.reset(seed=seed)
        n = self.envs.num_envs
        first = next(value for _, value in leaf_values(self.space, obs))
        self.torch = first.device if isinstance(first, Tensor) else None  # where an environment in torch wants actions
        self.obs = pack(self.space, obs, self.device)  # (N, *obs)
        self.state = self.policy.initial_state(n)  # (N, H)
        self.starts = np.ones(n, bool)  # (N,) the row to come begins an episode
        self.valid = np.ones(n, bool)  # (N,) the row to come is the policy's decision
        self.returns, self.lengths = np.zeros(n), np.zeros(n, np.int64)  # (N,) of the episodes under way
        self.step = 0

    @torch.no_grad()
    def collect(self) -> tuple[Rollout, list[Episode]]:
        """Return the rollout (T, N) and the episodes that ended in it.

        Raises:
            NonFiniteError: an observation, reward, value or log-probability is NaN or infinite.
            UsageError: an action mask allows nothing.
        """
        begin, first, self.env_seconds = time.perf_counter(), self.step, 0.0
        columns: dict[str, list[Any]] = {}
        cut: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, their successors' observations, the states before those
        try:
            for t in range(self.num_steps):
                self._check_mask()
                for name, value in self._act().items():
                    columns.setdefault(name, []).append(value)
                outcome, final = self._step(columns["actions"][-1])
                for name, value in outcome.items():
                    columns.setdefault(name, []).append(value)
                if final is not None:
                    index, successors = final
                    where = torch.from_numpy(index).to(self.device)
                    cut.append((where + t * self.envs.num_envs, successors, self.state[where]))
        except Exception as error:
            # A number that is not finite, if there was one before, is the cause; else the environment's own error is.
            _check_finite({name: _stack(columns[name]) for name in CHECKED if name in columns}, first)
            error.add_note(f"(raised at vector step {self.step} since the environments were last reset)")
            raise
        rollout = self._rollout(columns, cut)
        _check_finite({name: getattr(rollout, name) for name in CHECKED} | {"final_obs": _final_obs(rollout)}, first)
        _check_finite({"next_values": rollout.next_values}, first)
        episodes = self._episodes(columns)
        self.seconds = time.perf_counter() - begin
        return rollout, episodes

    def _act(self) -> dict[str, Any]:
        """Take one decision for every environment -> the columns of the row that are known before the step."""
        starts = torch.from_numpy(self.starts).to(self.device)  # (N,)
        row = {"obs": self.obs, "states": self.state, "starts": self.starts, "valid": self.valid}
        dist, values, self.state = self.policy(self.obs.unsqueeze(0), self.state, starts.unsqueeze(0))
        actions = dist.mode() if self.deterministic else dist.sample()  # (1, N, *action)
        return row | {"actions": actions[0], "log_probs": dist.log_prob(actions)[0], "values": values[0]}

    def _rollout(self, columns: dict[str, list[Any]], cut: list[tuple[Tensor, Tensor, Tensor]]) -> Rollout:
        """Stack the rows, and find each row's successor: the next row, a final observation, or what comes after T."""
        stacked = {name: _stack(rows).to(self.device) for name, rows in columns.items()}
        last = torch.arange(self.envs.num_envs, device=self.device) + (self.num_steps - 1) * self.envs.num_envs
        rest = ~torch.isin(last, torch.cat([last[:0]] + [rows for rows, _, _ in cut]))
        cut = [*cut, (last[rest], self.obs[rest], self.state[rest])]
        cuts = Cuts(*(torch.cat(column) for column in zip(*cut, strict=True)))
        return Rollout(**stacked, next_values=cuts.next_values(stacked["values"], self.policy), cuts=cuts)

    def _step(self, actions: Tensor) -> tuple[dict[str, Any], tuple[np.ndarray, Tensor] | None]:
        """Step the environments and move on to the next row.

        Returns:
            The columns that the step fills in; and (index, observations) of environments that were truncated and are in
            their next episode already, None where there are none.
        """
        begin = time.perf_counter()
        raw = self.policy.head.to_env(actions)
        obs, rewards, terminated, truncated, infos = self.envs.step(_to_torch(raw, self.torch) if self.torch else raw)
        self.env_seconds += time.perf_counter() - begin
        self.step += 1
        terminated, truncated = _to_numpy(terminated), _to_numpy(truncated)
        rewards = rewards.clone() if isinstance(rewards, Tensor) else np.array(rewards, dtype=np.float64)
        outcome = {"rewards": rewards, "terminated": terminated, "truncated": truncated}
        done = (terminated | truncated) & self.valid  # a dead row ends nothing
        self.obs = pack(self.space, obs, self.device)
        if self.mode is AutoresetMode.NEXT_STEP:
            self.starts, self.valid = ~self.valid, ~done
            return outcome, None
        self.starts = done
        index = np.flatnonzero(truncated & ~terminated)
        final = self.obs[torch.from_numpy(index).to(self.device)]
        if self.mode is AutoresetMode.SAME_STEP and len(index):
            final = pack(self.space, _gather(infos["final_obs"], index, self.space), self.device)
        elif self.mode is AutoresetMode.DISABLED and done.any():
            fresh, _ = self.envs.reset(options={"reset_mask": done.copy()})
            ended = torch.from_numpy(done).to(self.device)
            self.obs[ended] = pack(self.space, fresh, self.device)[ended]
        return outcome, (index, final) if len(index) else None

    def _episodes(self, columns: dict[str, list[Any]]) -> list[Episode]:
        """Return the episodes that ended, in the order of their ends, and carry on those under way."""
        found: list[Episode] = []
        rewards = columns["rewards"]
        if isinstance(rewards[0], Tensor):
            rewards = list(torch.stack(rewards).cpu().numpy())
        for t, reward in enumerate(rewards):
            valid = columns["valid"][t]
            ended = (columns["terminated"][t] | columns["truncated"][t]) & valid
            self.returns += reward * valid
            self.lengths += valid
            if ended.any():
                found += [Episode(int(n), float(self.returns[n]), int(self.lengths[n])) for n in np.flatnonzero(ended)]
                self.returns[ended], self.lengths[ended] = 0.0, 0
        return found

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        some = self.policy.head.some_allowed(self.obs[:, self.mask] > 0).cpu().numpy()  # (N,)
        if (~some & self.valid).any():
            index = int(np.flatnonzero(~some & self.valid)[0])
            raise UsageError(
                f"action_mask of environment {index} allows no action at step {self.step}; "
                "end the episode where nothing is allowed"
            )


def play(envs: VectorEnv, policy: Policy, episodes: int, seed: int, deterministic: bool = True) -> list[Episode]:
    """Play whole episodes and return them.

    Each environment plays its share, so that short episodes are not counted more often because they end sooner. Where
    an environment does not end an episode within MAX_STEPS, playing stops and those under way count as they stand.
    """
    share, extra = divmod(episodes, envs.num_envs)
    shares = {n: share + (n < extra) for n in range(envs.num_envs)}
    collector = Collector(envs, policy, num_steps=32, deterministic=deterministic)
    collector.reset(seed)
    played: dict[int, list[Episode]] = {n: [] for n in shares}
    while any(len(played[n]) < shares[n] and collector.lengths[n] < MAX_STEPS for n in shares):
        for episode in collector.collect()[1]:
            if len(played[episode.env]) < shares[episode.env]:
                played[episode.env].append(episode)
    for n, found in played.items():
        if len(found) < shares[n]:
            found.append(Episode(n, float(collector.returns[n]), int(collector.lengths[n]), ended=False))
    return [episode for found in played.values() for episode in found]


def _check_finite(tensors: dict[str, Tensor], first_step: int) -> None:
    """Raise NonFiniteError for the earliest entry of the tensors (T, N, …) that is not finite."""
    broken = {name: ~x.isfinite() for name, x in tensors.items() if x.is_floating_point() and not x.isfinite().all()}
    found = {name: where.nonzero()[0].tolist() for name, where in broken.items()}
    if found:
        name, at = min(found.items(), key=lambda item: item[1][0])
        value, entry = tensors[name][tuple(at)].item(), f", entry {at[2:]}" if at[2:] else ""
        message = f"{name} is not finite ({value}) in environment {at[1]} at step {first_step + at[0]}{entry}"
        raise NonFiniteError(message, tensors)


def _final_obs(rollout: Rollout) -> Tensor:
    """Return (T, N): NaN where a row's successor stands in the cuts and is not finite, else 0."""
    finite = rollout.cuts.obs.isfinite().view(len(rollout.cuts.rows), -1).all(1)
    marks = torch.where(finite, 0.0, torch.nan)
    return torch.zeros(rollout.valid.numel()).to(marks).index_copy(0, rollout.cuts.rows, marks).view_as(rollout.valid)


def _to_numpy(x: Any) -> np.ndarray:
    # A copy, because environments reuse their arrays.
    return np.array(x.cpu().numpy() if isinstance(x, Tensor) else x, dtype=bool)


def _to_torch(actions: Any, device: torch.device) -> Any:
    """Turn actions of any structure into tensors."""
    if isinstance(actions, dict):
        return {key: _to_torch(part, device) for key, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_to_torch(part, device) for part in actions)
    return torch.as_tensor(actions, device=device)


def _stack(rows: list[Any]) -> Tensor:
    """Stack T rows (N, …) of NumPy or torch into a tensor (T, N, …), float32 where they are float64."""
    stacked = torch.stack(rows) if isinstance(rows[0], Tensor) else torch.from_numpy(np.stack(rows))
    return stacked.float() if stacked.dtype == torch.float64 else stacked


def _gather(final: Any, index: np.ndarray, space: Any) -> Any:
    """Batch the final observations at index, given one by one in an object array or as a batch already."""
    if not (isinstance(final, np.ndarray) and final.dtype == object):
        return take(final, index)
    return concatenate(space, [final[n] for n in index], create_empty_array(space, len(index)))  # type: ignore[arg-type]
