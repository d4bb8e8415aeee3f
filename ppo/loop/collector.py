"""The collector: steps the environments with the policy and hands over a rollout, whatever the autoreset mode."""

import contextlib
import time
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from ppo.envs import autoreset_mode
from ppo.envs.action_mask import masks, refuse_change
from ppo.envs.fits import MASK_KEY
from ppo.envs.infos import Infos, answers, final_obs, stacking_fault
from ppo.envs.spaces import Packer, has_mask, leaf_values, to_torch
from ppo.errors import UsageError
from ppo.loop.episodes import Episode, Tally
from ppo.loop.halves import Cut, Decision, Now, Outcome, check_choices, check_numbers, columns_of
from ppo.loop.rollout import SINCE, Rollout, Successors
from ppo.machine.compile import Compiled
from ppo.machine.distributed import gathered, own_randomness, size
from ppo.machine.flat import FlatPolicy
from ppo.machine.phase import phase
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
    dist, values, after = policy.forward(obs.unsqueeze(0), state, starts.unsqueeze(0))
    if values.shape != (1, len(obs)) or after.shape != state.shape:
        raise UsageError(
            f"the policy's forward returned values of shape {tuple(values.shape)} and a state of shape {tuple(after.shape)}; they "
            f"must be (T, N) = (1, {len(obs)}) and (N, H) = {tuple(state.shape)}",
            "howto/policy#the-contract",
        )
    actions = dist.sample(noise.unsqueeze(0))  # (1, N, *action)
    return actions[0], dist.log_prob(actions)[0], values[0], after


class Collector:
    """Step N environments T times and return the rollout.

    The three autoreset modes become one stream of rows here and nowhere else. NEXT_STEP inserts a dead row after each
    episode (`valid` is False); its observation is the true successor of the row before it. SAME_STEP and DISABLED have
    no dead rows; the true successor of a truncated row goes to the rollout's `successors`. Two things an environment says
    itself, if its metadata declares them (`Infos`): the next step does not depend on the action, as in the middle of a prompt
    (`info["valid"]`), and nothing after a step counts for its value, though the episode goes on (`info["value_ends"]`).

    Args:
        envs: from `ppo.envs.check_envs`.
        policy: chooses actions and estimates values.
        compiled: run the policy as machine code.
        seq_len: steps between two recurrent states that the rollout stores, a divisor of T.
        first: number of the first environment; other ranks step those before it, and those after the last.
    """

    def __init__(
        self, envs: VectorEnv, policy: FlatPolicy, compiled: bool = False, seq_len: int = 1, first: int = 0
    ) -> None:
        self.seq_len, self.first = seq_len, first
        self.envs, self.policy, self.head = envs, policy, policy.module.head
        self.space, self.mode = envs.single_observation_space, autoreset_mode(envs)
        self.device = policy.vector.device
        self.packer, self.masked = Packer(self.space, self.device), has_mask(self.space)
        self.act = Compiled(act, policy, compiled)
        # Of the last collect, without compiling; of envs.step within it; and of compiling before it.
        self.seconds = self.env_seconds = self.compile_seconds = 0.0
        self.infos = Infos(envs)
        self.metrics = self.infos.metrics
        self.step = 0  # vector steps since the last reset

    @phase("resetting the environments")
    def reset(self, seed: int) -> None:
        """Begin new episodes in all environments; `seed` is that of environment 0."""
        obs, infos = self.envs.reset(seed=seed + self.first)  # Gymnasium counts up from there
        n = self.envs.num_envs
        first = next(value for _, value in leaf_values(self.space, obs))
        self.action_device = first.device if isinstance(first, Tensor) else None  # None: the environment wants NumPy
        self.now = Now(self._pack(obs), np.ones(n, bool), self.infos.valid(infos), np.zeros(n, bool))
        self.state = self.policy.module.initial_state(n)  # (N, H)
        self.tally = Tally(n, self.metrics, self.first)
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
            UsageError: an action mask allows nothing, or what an environment returned does not fit its spaces.
        """
        n = self.envs.num_envs
        noise = self.head.noise(num_steps, size() * n, deterministic=deterministic)  # of all ranks' environments
        with own_randomness():
            return self._collect(noise[:, self.first : self.first + n].unbind(0), stop)

    @phase("collecting a rollout")
    def collect_all(self, num_steps: int, stop: Stop = never) -> tuple[Rollout, list[Episode]]:
        """Return the rollout (T, N) of all ranks' environments and the episodes that ended in it; see `collect`.

        Raises:
            Stopped: `stop` returned True on one of the ranks.
        """
        if size() == 1:
            return self.collect(num_steps, stop=stop)
        begin, own = time.perf_counter(), None
        with contextlib.suppress(Stopped):
            rollout, episodes = self.collect(num_steps, stop=stop)
            own = rollout, episodes
        parts = [part for part in gathered(own) if part is not None]
        if len(parts) < size():
            raise Stopped
        whole = Rollout.side_by_side([rollout for rollout, _ in parts]).to(self.device)
        self.seconds = time.perf_counter() - begin - self.compile_seconds
        return whole, [episode for _, several in parts for episode in several]

    def _collect(self, noise: tuple[Tensor, ...], stop: Stop) -> tuple[Rollout, list[Episode]]:
        begin, first_step, n = time.perf_counter(), self.step, self.envs.num_envs
        starts = self._tensor(self.now.starts)
        compiling = time.perf_counter()
        act = self.act.bind(*(x.clone() for x in (self.now.obs, self.state, starts, noise[0])))
        self.compile_seconds, self.env_seconds = time.perf_counter() - compiling, 0.0
        states, decisions, outcomes = list[Tensor](), list[Decision](), list[Outcome]()
        cuts: list[tuple[np.ndarray, Tensor, Tensor]] = []  # rows, their successors' observations and states
        try:
            for t, step_noise in enumerate(noise):
                if stop():
                    raise Stopped
                self._check_mask()
                if t % self.seq_len == 0:
                    states.append(self.state)
                starts = self._tensor(self.now.starts)
                actions, log_probs, values, self.state = act(self.now.obs, self.state, starts, step_noise)
                decisions.append(Decision(self.now.obs, actions, log_probs, values, self.now.starts, self.now.valid))
                outcome, self.now, cut = self._step(actions)
                self.step += 1
                outcomes.append(outcome)
                if cut is not None:
                    cuts.append((t * n + cut.envs, cut.obs, self.state[self._tensor(cut.envs)]))
        except Exception as error:
            self._explain(error, columns_of(decisions) | columns_of(outcomes), cuts, first_step)
            raise
        columns = columns_of(decisions) | columns_of(outcomes)
        check_choices(self.packer, columns["obs"], self.now.obs, cuts, first_step, self.first)
        done, metrics = columns["terminated"] | columns["truncated"], columns.pop("metrics")
        rollout = self._rollout(self._on_device(columns) | {"states": torch.stack(states)}, cuts)
        check_numbers(self.packer, vars(rollout), n, first_step, rollout.successors, self.first)
        episodes = self.tally.count(columns["rewards"], columns["valid"], done, metrics)
        self.seconds = time.perf_counter() - begin - self.compile_seconds
        return rollout, episodes

    def _explain(self, error: Exception, columns: dict[str, Any], cuts: list[Any], first_step: int) -> None:
        """Raise what is the likelier cause of an error, an earlier number; or say at which step the error arose."""
        columns = self._on_device(columns)
        check_numbers(self.packer, columns, self.envs.num_envs, first_step, first=self.first)
        check_choices(self.packer, columns.get("obs", self.now.obs[None]), self.now.obs, cuts, first_step, self.first)
        fault = error if isinstance(error, UsageError) else UsageError(stacking_fault(self.envs, error) or "")
        if fault.args[0]:
            raise UsageError(f"{fault.args[0]} (at step {self.step} {SINCE})", fault.page) from error
        error.add_note(f"(raised at vector step {self.step} {SINCE})")

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
        columns |= {name: torch.zeros_like(next_values) for name in ("penalties", "kl_coefs")}
        columns["reference"] = next_values.new_zeros(steps, envs, 0)
        return Rollout(**columns, next_values=next_values, next_valid=next_valid, successors=successors)

    def _step(self, actions: Tensor) -> tuple[Outcome, Now, Cut | None]:
        """Step the environments -> the outcome, where they stand now, and which episodes were cut."""
        begin, n = time.perf_counter(), self.envs.num_envs
        raw = self.head.to_env(actions)
        obs, *answer, infos = self.envs.step(to_torch(raw, self.action_device) if self.action_device else raw)
        self.env_seconds += time.perf_counter() - begin
        rewards, terminated, truncated = answers(answer, n)
        if self.mode is AutoresetMode.NEXT_STEP:
            for column in (rewards, terminated, truncated):
                column[self.now.dead] = 0  # a dead row earns nothing and ends nothing
        done = terminated | truncated
        if not self.masked and MASK_KEY in infos:
            for env in masks(self.envs, infos):
                refuse_change(env, False, True)
        value_ends = self.infos.value_ends(infos, done) & ~self.now.dead
        outcome = Outcome(rewards, terminated, truncated, value_ends, self.infos.numbers(infos, done))
        decides, seen = self.infos.valid(infos), self._pack(obs)
        if self.mode is AutoresetMode.NEXT_STEP:
            return outcome, Now(seen, self.now.dead, ~done & decides, done), None
        index = np.flatnonzero(truncated & ~terminated)
        cut = Cut(index, seen[self._tensor(index)]) if len(index) else None
        if cut is not None and self.mode is AutoresetMode.SAME_STEP:
            cut = Cut(index, self.packer(final_obs(infos, index, self.space)))
        if done.any() and self.mode is AutoresetMode.DISABLED:
            fresh, infos = self.envs.reset(options={"reset_mask": done.copy()})
            ended = self._tensor(done)
            seen[ended] = self._pack(fresh)[ended]
            decides = np.where(done, self.infos.valid(infos), decides)
        return outcome, Now(seen, done, decides, self.now.dead), cut

    def _pack(self, obs: Any) -> Tensor:
        packed = self.packer(obs)
        if len(packed) != self.envs.num_envs:
            raise UsageError(f"there are {len(packed)} observations of {self.envs.num_envs} environments")
        return packed

    def _check_mask(self) -> None:
        mask = self.packer.mask(self.now.obs)
        if mask is None:
            return
        some = self.head.some_allowed(mask).cpu().numpy()  # (N,)
        stuck = np.flatnonzero(~some & self.now.valid)
        if len(stuck):
            raise UsageError(
                f"action_mask of environment {self.first + stuck[0]} allows no action; end the episode when no action is allowed",
                page="environments#action-masks",
            )
