"""The collector: steps the environments with the policy and hands over a rollout, whatever the autoreset mode."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from ppo.envs import autoreset_mode
from ppo.envs.spaces import mask_columns, pack, packed_dtype, packed_shape
from ppo.errors import NonFiniteError, UsageError
from ppo.policies import Policy
from ppo.rollout import Rollout


@dataclass(frozen=True)
class Episode:
    """An episode that ended in a rollout, in raw rewards."""

    env: int
    episode_return: float
    length: int


class Collector:
    """Step N environments T times and return what came of it.

    The three autoreset modes become one stream of rows here and nowhere else. NEXT_STEP inserts a dead row after each
    episode (`valid` is False); its observation is the true successor of the row before it. SAME_STEP and DISABLED have no
    dead rows; the true successor of a truncated row goes to the rollout's `bootstrap_obs`.

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
        action_space = envs.single_action_space
        self.choices = list(action_space.nvec.ravel()) if isinstance(action_space, MultiDiscrete) else None
        self.seconds = self.env_seconds = 0.0  # of the last collect, and of envs.step within it
        self.step = 0  # vector steps since the last reset

    def reset(self, seed: int) -> None:
        """Begin new episodes in all environments, seeded."""
        obs, _ = self.envs.reset(seed=seed)
        n = self.envs.num_envs
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
        steps, n, device = self.num_steps, self.envs.num_envs, self.device
        begin, self.env_seconds = time.perf_counter(), 0.0
        obs = torch.empty(steps, n, *packed_shape(self.space), dtype=packed_dtype(self.space), device=device)
        states = torch.empty(steps, n, self.state.shape[-1], device=device)
        actions, log_probs, values = [], [], []
        flags = {name: np.empty((steps, n), bool) for name in ("starts", "valid", "terminated", "truncated")}
        rewards: list[Any] = []
        cut: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, successors' observations, states before them
        for t in range(steps):
            obs[t], states[t] = self.obs, self.state
            flags["starts"][t], flags["valid"][t] = self.starts, self.valid
            self._check_mask()
            starts = torch.from_numpy(self.starts).to(device).unsqueeze(0)  # (1, N)
            dist, value, self.state = self.policy(self.obs.unsqueeze(0), self.state, starts)
            action = dist.mode() if self.deterministic else dist.sample()  # (1, N, *action)
            actions.append(action)
            log_probs.append(dist.log_prob(action))
            values.append(value)
            try:
                reward, terminated, truncated, final = self._step(action[0])
            except Exception as error:
                _check_finite({"observation": obs[: t + 1], "value": torch.cat(values)}, self.step - t)
                error.add_note(f"(raised while stepping the environments, vector step {self.step} of this segment)")
                raise
            rewards.append(reward)
            flags["terminated"][t], flags["truncated"][t] = terminated, truncated
            if final is not None:
                where = torch.from_numpy(np.flatnonzero(truncated & ~terminated)).to(device)
                cut.append((where + t * n, pack(self.space, final, device), self.state[where]))
        last = torch.arange(n, device=device) + (steps - 1) * n
        known = torch.cat([rows for rows, _, _ in cut]) if cut else last[:0]
        rest = ~torch.isin(last, known)
        cut.append((last[rest], self.obs[rest], self.state[rest]))

        tensors = {name: torch.from_numpy(flag).to(device) for name, flag in flags.items()}
        raw = torch.stack([torch.as_tensor(r) for r in rewards]).to(device, torch.float32)  # (T, N)
        rows, successors, before = (torch.cat(column) for column in zip(*cut, strict=True))
        rollout = Rollout(
            obs=obs, states=states, actions=torch.cat(actions), log_probs=torch.cat(log_probs), rewards=raw,
            values=torch.cat(values), next_values=torch.empty(0), bootstrap_rows=rows, bootstrap_obs=successors,
            bootstrap_states=before, **tensors,
        )  # fmt: skip
        rollout.next_values = rollout.successor_values(rollout.values, self.policy)
        named = {"observation": obs, "reward": raw, "value": rollout.values, "log_prob": rollout.log_probs}
        _check_finite(named, self.step - steps)
        self.seconds = time.perf_counter() - begin
        return rollout, self._episodes(np.asarray(raw.cpu(), np.float64), flags)

    def _step(self, action: Tensor) -> tuple[Any, np.ndarray, np.ndarray, Any]:
        """Step the environments and move on to the next row -> reward, terminated, truncated (N,), final observations."""
        begin = time.perf_counter()
        obs, reward, terminated, truncated, infos = self.envs.step(self.policy.head.to_env(action))
        self.env_seconds += time.perf_counter() - begin
        self.step += 1
        terminated, truncated = _to_numpy(terminated), _to_numpy(truncated)
        done = terminated | truncated
        final = None
        if self.mode is AutoresetMode.NEXT_STEP:
            done &= self.valid  # a dead row ends nothing
            self.starts, self.valid = ~self.valid, ~done
        else:
            self.starts = done
            cut = np.flatnonzero(truncated & ~terminated)
            if self.mode is AutoresetMode.SAME_STEP and len(cut):
                final = _gather(infos["final_obs"], cut, self.space)
            elif self.mode is AutoresetMode.DISABLED and done.any():
                final = _take(obs, cut) if len(cut) else None
                fresh, _ = self.envs.reset(options={"reset_mask": done.copy()})
                packed, again = pack(self.space, obs, self.device), pack(self.space, fresh, self.device)
                ended = torch.from_numpy(done).to(self.device)
                self.obs = torch.where(ended.view(-1, *[1] * (packed.dim() - 1)), again, packed)
                return reward, terminated, truncated, final
        self.obs = pack(self.space, obs, self.device)
        return reward, terminated, truncated, final

    def _episodes(self, rewards: np.ndarray, flags: dict[str, np.ndarray]) -> list[Episode]:
        """Return the episodes that ended, in the order of their ends, and carry on those under way."""
        found = []
        done = (flags["terminated"] | flags["truncated"]) & flags["valid"]
        for reward, valid, ended in zip(rewards, flags["valid"], done, strict=True):
            self.returns += reward * valid
            self.lengths += valid
            if ended.any():
                for n in np.flatnonzero(ended):
                    found.append(Episode(int(n), float(self.returns[n]), int(self.lengths[n])))
                self.returns[ended], self.lengths[ended] = 0.0, 0
        return found

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        allowed = self.obs[:, self.mask] > 0  # (N, A)
        sizes = [int(size) for size in self.choices] if self.choices else [allowed.shape[1]]
        some = torch.stack([part.any(-1) for part in allowed.split(sizes, dim=-1)]).all(0).cpu().numpy()
        if (~some & self.valid).any():
            index = int(np.flatnonzero(~some & self.valid)[0])
            raise UsageError(
                f"action_mask of environment {index} allows no action at step {self.step}; "
                "end the episode where nothing is allowed"
            )


def play(envs: VectorEnv, policy: Policy, episodes: int, seed: int, deterministic: bool = True) -> list[Episode]:
    """Play whole episodes and return them.

    Each environment plays its share, so that short episodes are not counted more often because they end sooner.
    """
    share = -(-episodes // envs.num_envs)
    collector = Collector(envs, policy, num_steps=32, deterministic=deterministic)
    collector.reset(seed)
    played: dict[int, list[Episode]] = {n: [] for n in range(min(envs.num_envs, episodes))}
    while any(len(found) < share for found in played.values()):
        for episode in collector.collect()[1]:
            if episode.env in played and len(played[episode.env]) < share:
                played[episode.env].append(episode)
    return [episode for found in played.values() for episode in found][:episodes]


def _check_finite(tensors: dict[str, Tensor], first_step: int) -> None:
    for name, x in tensors.items():
        bad = ~torch.isfinite(x)
        if bad.any():
            at = bad.nonzero()[0].tolist()
            raise NonFiniteError(
                f"{name} is not finite ({x[tuple(at)].item()}) in environment {at[1]} at step {first_step + at[0]}"
                + (f", entry {at[2:]}" if at[2:] else "")
            )


def _to_numpy(x: Any) -> np.ndarray:
    return np.asarray(x.cpu() if isinstance(x, Tensor) else x, dtype=bool)


def _take(obs: Any, index: np.ndarray) -> Any:
    """Select rows of a batched observation of any structure."""
    if isinstance(obs, dict):
        return {key: _take(part, index) for key, part in obs.items()}
    if isinstance(obs, tuple):
        return tuple(_take(part, index) for part in obs)
    return obs[index]


def _gather(final: Any, index: np.ndarray, space: Any) -> Any:
    """Batch the final observations at index, given one by one in an object array or as a batch already."""
    if not (isinstance(final, np.ndarray) and final.dtype == object):
        return _take(final, index)
    return concatenate(space, [final[n] for n in index], create_empty_array(space, len(index)))
