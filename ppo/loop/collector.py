"""The collector: steps the environments with the policy and hands over a rollout, whatever the autoreset mode."""

import time
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from ppo.envs import autoreset_mode
from ppo.envs.infos import measured, valid
from ppo.envs.spaces import Packer, gather, leaf_values, mask_columns
from ppo.errors import UsageError
from ppo.loop.episodes import Episode
from ppo.loop.rollout import Cuts, Rollout, check_finite, final_obs
from ppo.machine.compile import Compiled
from ppo.machine.flat import FlatPolicy

ON_DEVICE = ("obs", "actions", "log_probs", "values")  # a row's columns that the policy gives, as tensors
ON_HOST = {"starts": bool, "valid": bool, "rewards": np.float64, "terminated": bool, "truncated": bool}
CHECKED = ("obs", "values", "log_probs", "rewards")  # columns that must be finite, in the order in which they arise


def act(policy: FlatPolicy, obs: Tensor, state: Tensor, starts: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
    """Take one decision for every environment -> actions (N, *action), log_probs (N,), values (N,), state (N, H).

    Args:
        policy: acts, and values what it sees.
        obs: (N, *obs) packed.
        state: (N, H) before the step.
        starts: (N,) bool, the step begins an episode.
        noise: (N, num_outputs) from the head.
    """
    dist, values, state = policy.forward(obs.unsqueeze(0), state, starts.unsqueeze(0))
    actions = dist.sample(noise.unsqueeze(0))  # (1, N, *action)
    return actions[0], dist.log_prob(actions)[0], values[0], state


class Collector:
    """Step N environments T times and return what came of it.

    The three autoreset modes become one stream of rows here and nowhere else. NEXT_STEP inserts a dead row after each
    episode (`valid` is False); its observation is the true successor of the row before it. SAME_STEP and DISABLED have
    no dead rows; the true successor of a truncated row goes to the rollout's `cuts`. An environment whose next step does
    not depend on the action, as while it shows a prompt, says so itself: `info["valid"]`, (N,) bool.

    Args:
        envs: from `ppo.envs.check_envs`.
        policy: acts, and values what was seen.
        compiled: run the policy as machine code.
        seq_len: steps from one state that is kept to the next, a divisor of T.
    """

    def __init__(self, envs: VectorEnv, policy: FlatPolicy, compiled: bool = False, seq_len: int = 1) -> None:
        self.seq_len = seq_len
        self.envs, self.policy, self.head = envs, policy, policy.module.head
        self.space, self.mode = envs.single_observation_space, autoreset_mode(envs)
        self.device, self.recurrent = policy.vector.device, policy.module.state_size > 0
        self.packer, self.mask = Packer(self.space, self.device), mask_columns(self.space)
        self.act = Compiled(act, policy, compiled)
        self.seconds = self.env_seconds = 0.0  # of the last collect, and of envs.step within it
        self.metrics: tuple[str, ...] = tuple(envs.metadata.get("metrics", ()))
        self.step = 0  # vector steps since the last reset

    def reset(self, seed: int) -> None:
        """Begin new episodes in all environments, seeded."""
        obs, infos = self.envs.reset(seed=seed)
        n = self.envs.num_envs
        first = next(value for _, value in leaf_values(self.space, obs))
        self.torch = first.device if isinstance(first, Tensor) else None  # where an environment in torch wants actions
        self.obs = self.packer(obs)  # (N, *obs)
        self.state = self.policy.module.initial_state(n)  # (N, H)
        self.dead = np.zeros(n, bool)  # (N,) the row to come only resets the environment
        self.starts = np.ones(n, bool)  # (N,) the row to come begins an episode
        self.valid = valid(infos, n)  # (N,) the row to come is the policy's decision
        self.returns, self.lengths = np.zeros(n), np.zeros(n, np.int64)  # (N,) of the episodes under way
        self.step = 0

    @torch.no_grad()
    def collect(self, num_steps: int, deterministic: bool = False) -> tuple[Rollout, list[Episode]]:
        """Return the rollout (T, N) of T steps and the episodes that ended in it.

        Args:
            num_steps: T.
            deterministic: leave nothing to chance when acting.

        Raises:
            NonFiniteError: an observation, reward, value or log-probability is NaN or infinite.
            UsageError: an action mask allows nothing.
        """
        begin, first, n = time.perf_counter(), self.step, self.envs.num_envs
        noise = self.head.noise(num_steps, n, deterministic=deterministic).unbind(0)
        starts = torch.from_numpy(self.starts).to(self.device)  # a policy without memory does not look at it
        compiling = time.perf_counter()
        act = self.act.bind(*(x.clone() for x in (self.obs, self.state, starts, noise[0])))
        begin, self.env_seconds = begin + time.perf_counter() - compiling, 0.0
        rows: list[tuple[Tensor, ...]] = []
        states: list[Tensor] = []
        host = {name: np.zeros((num_steps, n), dtype) for name, dtype in ON_HOST.items()}
        host["metrics"] = np.zeros((num_steps, n, len(self.metrics)))
        # Rows, their successors' observations, the states before those.
        cut: list[tuple[np.ndarray, Tensor, Tensor]] = []
        try:
            for t, row in enumerate(zip(*host.values(), strict=True)):
                self._check_mask()
                row[0][:], row[1][:] = self.starts, self.valid
                if self.recurrent:
                    starts = torch.from_numpy(self.starts).to(self.device)
                actions, log_probs, values, state = act(self.obs, self.state, starts, noise[t])
                rows.append((self.obs, actions, log_probs, values))
                if t % self.seq_len == 0:
                    states.append(self.state)
                self.state = state
                final = self._step(actions, *row[2:])
                if final is not None:
                    cut.append((t * n + final[0], final[1], self.state[torch.from_numpy(final[0]).to(self.device)]))
        except Exception as error:
            # A number that is not finite, if there was one before, is the cause; else the environment's own error is.
            check_finite(self._columns(rows, host), CHECKED, first)
            error.add_note(f"(raised at vector step {self.step} since the environments were last reset)")
            raise
        columns = self._columns(rows, host)
        rollout = self._rollout(columns | {"states": torch.stack(states)}, cut)
        check_finite(columns | {"final_obs": final_obs(rollout)}, (*CHECKED, "final_obs"), first)
        check_finite(vars(rollout), ("next_values",), first)
        episodes = self._episodes(host)
        self.seconds = time.perf_counter() - begin
        return rollout, episodes

    def _columns(self, rows: list[tuple[Tensor, ...]], host: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """Return the columns of the rows so far, (T, N, …), on the policy's device."""
        stacked = {name: torch.stack(column) for name, column in zip(ON_DEVICE, zip(*rows, strict=True), strict=False)}
        for name in ON_HOST:
            table = torch.from_numpy(host[name]).to(self.device)
            stacked[name] = table.float() if name == "rewards" else table
        return stacked

    def _rollout(self, columns: dict[str, Tensor], cut: list[tuple[np.ndarray, Tensor, Tensor]]) -> Rollout:
        """Find each row's successor: the next row, a final observation, or what comes after T."""
        steps, envs = columns["valid"].shape
        last = np.arange((steps - 1) * envs, steps * envs)
        rest = np.isin(last, np.concatenate([last[:0], *(rows for rows, _, _ in cut)]), invert=True)
        where = torch.from_numpy(rest).to(self.device)
        rows, obs, states = zip(*cut, (last[rest], self.obs[where], self.state[where]), strict=True)
        cuts = Cuts(torch.from_numpy(np.concatenate(rows)).to(self.device), torch.cat(obs), torch.cat(states))
        next_values = cuts.next_values(columns["values"], self.policy.forward)
        next_valid = torch.from_numpy(self.valid).to(self.device)
        return Rollout(**columns, next_values=next_values, next_valid=next_valid, cuts=cuts)

    def _step(
        self, actions: Tensor, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, metrics: np.ndarray
    ) -> tuple[np.ndarray, Tensor] | None:
        """Step the environments, fill in what came of it, (N,) and metrics (N, M), and move on to the next row.

        Returns:
            (index, observations) of environments that were truncated and are in their next episode already, or None.
        """
        begin = time.perf_counter()
        raw = self.head.to_env(actions)
        obs, *outcome, infos = self.envs.step(_to_torch(raw, self.torch) if self.torch else raw)
        self.env_seconds += time.perf_counter() - begin
        self.step += 1
        rewards[:], terminated[:], truncated[:] = outcome if self.torch is None else [_on_host(x) for x in outcome]
        for column in (rewards, terminated, truncated):
            column[self.dead] = 0  # a dead row earns nothing and ends nothing
        done = terminated | truncated
        self.obs = self.packer(obs)
        if self.metrics and done.any():
            metrics[done] = measured(infos, self.metrics)[done]
        if self.mode is AutoresetMode.NEXT_STEP:
            self.starts, self.dead, self.valid = self.dead, done, ~done & valid(infos, len(done))
            return None
        self.starts, self.valid = done, valid(infos, len(done))
        if not done.any():
            return None
        index = np.flatnonzero(truncated & ~terminated)
        final = self.obs[torch.from_numpy(index).to(self.device)]
        if self.mode is AutoresetMode.SAME_STEP and len(index):
            final = self.packer(gather(infos["final_obs"], index, self.space))
        elif self.mode is AutoresetMode.DISABLED:
            fresh, infos = self.envs.reset(options={"reset_mask": done.copy()})
            ended = torch.from_numpy(done).to(self.device)
            self.obs[ended] = self.packer(fresh)[ended]
            self.valid[done] = valid(infos, len(done))[done]
        return (index, final) if len(index) else None

    def _episodes(self, host: dict[str, np.ndarray]) -> list[Episode]:
        """Return the episodes that ended, in the order of their ends, and carry on those under way."""
        valid = host["valid"]
        returns = self.returns + np.cumsum(host["rewards"], axis=0)  # (T, N) since the episode under way began
        lengths = self.lengths + np.cumsum(valid, axis=0)
        before, counted = np.zeros_like(self.returns), np.zeros_like(self.lengths)  # (N,) of episodes that have ended
        found: list[Episode] = []
        for t, n in np.argwhere(host["terminated"] | host["truncated"]):
            metrics = dict(zip(self.metrics, host["metrics"][t, n].tolist(), strict=True))
            sums = float(returns[t, n] - before[n]), int(lengths[t, n] - counted[n])
            found.append(Episode(int(n), *sums, metrics=metrics))
            before[n], counted[n] = returns[t, n], lengths[t, n]
        self.returns, self.lengths = returns[-1] - before, lengths[-1] - counted
        return found

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        some = self.head.some_allowed(self.obs[:, self.mask] > 0).cpu().numpy()  # (N,)
        if (~some & self.valid).any():
            index = int(np.flatnonzero(~some & self.valid)[0])
            raise UsageError(
                f"action_mask of environment {index} allows no action at step {self.step}; "
                "end the episode where nothing is allowed"
            )


def _on_host(x: Any) -> Any:
    return x.cpu() if isinstance(x, Tensor) else x


def _to_torch(actions: Any, device: torch.device) -> Any:
    """Turn actions of any structure into tensors."""
    if isinstance(actions, dict):
        return {key: _to_torch(part, device) for key, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_to_torch(part, device) for part in actions)
    return torch.as_tensor(actions, device=device)
