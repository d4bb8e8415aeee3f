"""The collector: steps the environments with the policy and hands over a rollout, whatever the autoreset mode."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from ppo.envs import autoreset_mode
from ppo.envs.infos import episode_metrics, valid
from ppo.envs.spaces import Packer, gather, leaf_values, mask_columns, to_torch
from ppo.errors import UsageError
from ppo.loop.episodes import Episode, Tally
from ppo.loop.rollout import Rollout, Successors, check_finite
from ppo.machine.compile import Compiled
from ppo.machine.flat import FlatPolicy
from ppo.machine.process import Stop, Stopped, never


def act(policy: FlatPolicy, obs: Tensor, state: Tensor, starts: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
    """Take one decision for every environment -> actions (N, *action), log_probs (N,), values (N,), state (N, H).

    Args:
        policy: chooses actions and estimates values.
        obs: (N, *obs) packed.
        state: (N, H) before the step.
        starts: (N,) bool, the step begins an episode.
        noise: (N, num_outputs) from the head.
    """
    dist, values, state = policy.forward(obs.unsqueeze(0), state, starts.unsqueeze(0))
    actions = dist.sample(noise.unsqueeze(0))  # (1, N, *action)
    return actions[0], dist.log_prob(actions)[0], values[0], state


class Now(NamedTuple):
    """Where the environments stand before a step."""

    obs: Tensor  # (N, *obs) packed
    starts: np.ndarray  # (N,) bool: the step begins an episode
    valid: np.ndarray  # (N,) bool: the step is the policy's decision
    dead: np.ndarray  # (N,) bool: the step only resets the environment


class Decision(NamedTuple):
    """The first half of a row: what the policy saw and did; the columns are those of `Rollout`."""

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    starts: np.ndarray
    valid: np.ndarray


class Outcome(NamedTuple):
    """The second half of a row: the environments' answer."""

    rewards: np.ndarray  # (N,) float64
    terminated: np.ndarray  # (N,) bool
    truncated: np.ndarray  # (N,) bool
    metrics: np.ndarray  # (N, M) of episodes that ended


class Cut(NamedTuple):
    """Environments that were truncated and already stand in their next episode."""

    envs: np.ndarray  # (K,)
    obs: Tensor  # (K, *obs) the last observation of the old episode


class Collector:
    """Step N environments T times and return the rollout.

    The three autoreset modes become one stream of rows here and nowhere else. NEXT_STEP inserts a dead row after each
    episode (`valid` is False); its observation is the true successor of the row before it. SAME_STEP and DISABLED have
    no dead rows; the true successor of a truncated row goes to the rollout's `successors`. An environment whose next step
    does not depend on the action, as in the middle of a prompt, says so itself: `info["valid"]`, (N,) bool.

    Args:
        envs: from `ppo.envs.check_envs`.
        policy: chooses actions and estimates values.
        compiled: run the policy as machine code.
        seq_len: steps between two recurrent states that the rollout stores, a divisor of T.
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
        self.no_metrics = np.zeros((envs.num_envs, len(self.metrics)))
        self.step = 0  # vector steps since the last reset

    def reset(self, seed: int) -> None:
        """Begin new episodes in all environments, seeded."""
        obs, infos = self.envs.reset(seed=seed)
        n = self.envs.num_envs
        first = next(value for _, value in leaf_values(self.space, obs))
        self.action_device = first.device if isinstance(first, Tensor) else None  # None: the environment wants NumPy
        self.now = Now(self.packer(obs), np.ones(n, bool), valid(infos, n), np.zeros(n, bool))
        self.state = self.policy.module.initial_state(n)  # (N, H)
        self.tally = Tally(n, self.metrics)
        self.step = 0

    @torch.no_grad()
    def collect(self, num_steps: int, deterministic: bool = False, stop: Stop = never) -> tuple[Rollout, list[Episode]]:
        """Return the rollout (T, N) of T steps and the episodes that ended in it.

        Args:
            num_steps: T.
            deterministic: take the mode of the distribution instead of a sample.
            stop: asked before each step.

        Raises:
            Stopped: `stop` returned True. The environments stand in the middle of the rollout; `reset` begins anew.
            NonFiniteError: an observation, reward, value or log-probability is NaN or infinite.
            UsageError: an action mask allows nothing.
        """
        begin, first_step, n = time.perf_counter(), self.step, self.envs.num_envs
        noise = self.head.noise(num_steps, n, deterministic=deterministic).unbind(0)
        starts = self._tensor(self.now.starts)  # a feed-forward policy ignores it
        compiling = time.perf_counter()
        act = self.act.bind(*(x.clone() for x in (self.now.obs, self.state, starts, noise[0])))
        begin, self.env_seconds = begin + time.perf_counter() - compiling, 0.0
        states, decisions, outcomes = list[Tensor](), list[Decision](), list[Outcome]()
        cuts: list[tuple[np.ndarray, Tensor, Tensor]] = []  # rows, their successors' observations and states
        try:
            for t in range(num_steps):
                if stop():
                    raise Stopped
                self._check_mask()
                if t % self.seq_len == 0:
                    states.append(self.state)
                if self.recurrent:
                    starts = self._tensor(self.now.starts)
                actions, log_probs, values, self.state = act(self.now.obs, self.state, starts, noise[t])
                decisions.append(Decision(self.now.obs, actions, log_probs, values, self.now.starts, self.now.valid))
                outcome, self.now, cut = self._step(actions)
                outcomes.append(outcome)
                if cut is not None:
                    cuts.append((t * n + cut.envs, cut.obs, self.state[self._tensor(cut.envs)]))
        except Exception as error:
            # An earlier non-finite number is the likelier cause; if there is none, re-raise the environment's error.
            _check_finite(self._on_device(_columns(decisions) | _columns(outcomes)), n, first_step)
            error.add_note(f"(raised at vector step {self.step} since the environments were last reset)")
            raise
        columns = _columns(decisions) | _columns(outcomes)
        done, metrics = columns["terminated"] | columns["truncated"], columns.pop("metrics")
        rollout = self._rollout(self._on_device(columns) | {"states": torch.stack(states)}, cuts)
        _check_finite(vars(rollout), n, first_step, rollout.successors)
        episodes = self.tally.count(columns["rewards"], columns["valid"], done, metrics)
        self.seconds = time.perf_counter() - begin
        return rollout, episodes

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).to(self.device)

    def _on_device(self, columns: dict[str, Any]) -> dict[str, Tensor]:
        """Return columns (T, N, …) as tensors on the policy's device, rewards as float32."""
        tensors = {name: x if isinstance(x, Tensor) else self._tensor(x) for name, x in columns.items()}
        return tensors | {"rewards": tensors["rewards"].float()} if "rewards" in tensors else tensors

    def _rollout(self, columns: dict[str, Tensor], cuts: list[tuple[np.ndarray, Tensor, Tensor]]) -> Rollout:
        """Find each row's successor: the next row, the last observation of a cut episode, or what comes after T."""
        steps, envs = columns["valid"].shape
        last = np.arange((steps - 1) * envs, steps * envs)
        rest = np.isin(last, np.concatenate([last[:0], *(rows for rows, _, _ in cuts)]), invert=True)
        where = self._tensor(rest)
        rows, obs, states = zip(*cuts, (last[rest], self.now.obs[where], self.state[where]), strict=True)
        successors = Successors(self._tensor(np.concatenate(rows)), torch.cat(obs), torch.cat(states))
        next_values = successors.next_values(columns["values"], self.policy.forward)
        next_valid = self._tensor(self.now.valid)
        return Rollout(**columns, next_values=next_values, next_valid=next_valid, successors=successors)

    def _step(self, actions: Tensor) -> tuple[Outcome, Now, Cut | None]:
        """Step the environments -> the outcome, where they stand now, and which episodes were cut."""
        begin, n = time.perf_counter(), self.envs.num_envs
        raw = self.head.to_env(actions)
        obs, *answer, infos = self.envs.step(to_torch(raw, self.action_device) if self.action_device else raw)
        self.env_seconds += time.perf_counter() - begin
        self.step += 1
        if self.action_device is not None:
            answer = [x.cpu().numpy() if isinstance(x, Tensor) else x for x in answer]
        rewards, terminated, truncated = np.empty(n), np.empty(n, bool), np.empty(n, bool)
        rewards[:], terminated[:], truncated[:] = answer  # copies: the environment may reuse its arrays
        if self.mode is AutoresetMode.NEXT_STEP:
            for column in (rewards, terminated, truncated):
                column[self.now.dead] = 0  # a dead row earns nothing and ends nothing
        done = terminated | truncated
        metrics = self.no_metrics
        if self.metrics and done.any():
            metrics = np.where(done[:, None], episode_metrics(infos, self.metrics), 0.0)
        outcome, decides, seen = Outcome(rewards, terminated, truncated, metrics), valid(infos, n), self.packer(obs)
        if self.mode is AutoresetMode.NEXT_STEP:
            return outcome, Now(seen, self.now.dead, ~done & decides, done), None
        index = np.flatnonzero(truncated & ~terminated)
        cut = Cut(index, seen[self._tensor(index)]) if len(index) else None
        if cut is not None and self.mode is AutoresetMode.SAME_STEP:
            cut = Cut(index, self.packer(gather(infos["final_obs"], index, self.space)))
        if done.any() and self.mode is AutoresetMode.DISABLED:
            fresh, infos = self.envs.reset(options={"reset_mask": done.copy()})
            ended = self._tensor(done)
            seen[ended] = self.packer(fresh)[ended]
            decides[done] = valid(infos, n)[done]
        return outcome, Now(seen, done, decides, self.now.dead), cut

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        some = self.head.some_allowed(self.now.obs[:, self.mask] > 0).cpu().numpy()  # (N,)
        stuck = np.flatnonzero(~some & self.now.valid)
        if len(stuck):
            raise UsageError(
                f"action_mask of environment {stuck[0]} allows no action at step {self.step}; "
                "end the episode when no action is allowed"
            )


def _columns(halves: list[Any]) -> dict[str, Any]:
    """Return the columns of half-rows by name, (T, N, …), tensors and NumPy arrays as they are."""
    names = halves[0]._fields if halves else ()
    columns = zip(names, zip(*halves, strict=True), strict=True)
    return {name: torch.stack(x) if isinstance(x[0], Tensor) else np.array(x) for name, x in columns}


def _check_finite(columns: dict[str, Any], num_envs: int, first_step: int, after: Successors | None = None) -> None:
    """Check the columns in the order in which their numbers arise; `after` is None before there are successors."""
    names = ("obs", "values", "log_probs", "rewards")
    flat = {name: columns[name].flatten(0, 1) for name in names if name in columns}
    numbers: dict[str, tuple[Tensor, Tensor]] = {n: (torch.arange(len(x), device=x.device), x) for n, x in flat.items()}
    if after is not None:
        numbers["final_obs"] = after.rows, after.obs
        numbers["next_values"] = after.rows, columns["next_values"].flatten()[after.rows]
    tensors = {name: x for name, x in columns.items() if isinstance(x, Tensor)}
    check_finite(numbers, num_envs, first_step, tensors)
