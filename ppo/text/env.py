"""The token environment: one step is one token, in N sequences; a sequence that ends is replaced in place by the next.

A sequence is the end token, the prompt, and what the policy writes. Each step shows one token. While tokens of a prompt or of
a reply are still queued, the action is ignored (`info["valid"]` is False) and the next queued token is shown. Prompts and
replies of any length enter this way, without padding.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Dict, Discrete, Space
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ppo.envs.spaces import Packer, packed_size
from ppo.envs.text_env import Demonstration, TextEnv, generators
from ppo.errors import UsageError
from ppo.text.arguments import check_arguments
from ppo.text.completion import Completion
from ppo.text.sequences import Sequences
from ppo.text.state import objects, remembers, restore, state_of
from ppo.text.task import Task, call
from ppo.text.vocabulary import Vocabulary


class TokenEnv(TextEnv):
    """Write tokens, one a step.

    Actions are tokens, `Discrete(V)`. Observations are tokens too, read-only ones included; the task's features and, if it
    rules tokens out, the action mask come with them. A finished sequence is replaced in the same step (SAME_STEP).

    Args:
        task: what to write.
        num_envs: N.
        group_size: neighbouring sequences that share a prompt. A finished one waits for the others of its group, in rows
            that are not decisions; all are rewarded and replaced together.

    Raises:
        UsageError: `task` is not a Task, or N is not a multiple of the group size.
    """

    vocabulary: Vocabulary

    def __init__(self, task: Task, num_envs: int, group_size: int = 1) -> None:
        if not isinstance(task, Task):
            raise UsageError(
                f"expected a Task, got {task!r:.60}; the registered function must return a Task", page="text#a-task"
            )
        if num_envs % group_size:
            raise UsageError(f"group_size = {group_size} does not divide num_envs = {num_envs}; choose a divisor")
        self.task, self.num_envs, self.group_size = task, num_envs, group_size
        self.vocabulary, self.rewarded, self.max_tokens = task.vocabulary, task.reward is not None, task.max_tokens
        declared = {"valid": True, "metrics": ("ended", *task.metrics)}
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "ppo": declared}
        self.render_mode = "ansi"
        self.single_action_space, self.single_observation_space = Discrete(len(task.vocabulary)), task.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.rngs = generators(num_envs)
        self.sequences = Sequences(num_envs, task.vocabulary, task.max_tokens)
        self.returns = np.zeros(num_envs)  # (N,) of the current sequences
        self.samples: dict[int, tuple[Completion, float]] = {}  # the last finished sequence of each place, its return
        self.waiting, self.limit = np.zeros((2, num_envs), bool)  # (N,) finished; stopped by max_tokens

    @property
    def demonstrations(self) -> list[Demonstration]:
        """The tokens of the task's list of demonstrations; empty if it has a function that draws them, or none."""
        texts = self.task.demonstrate
        return [] if texts is None or callable(texts) else [self.task.demonstration(sequence) for sequence in texts]

    @property
    def remembers(self) -> bool:
        """Whether one of the task's functions remembers texts."""
        return remembers(self.task)

    @property
    def prompt_length(self) -> int:
        """Tokens of the longest prompt under way."""
        return int(self.sequences.prompt_lengths.max()) - 1

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new sequences; `seed` seeds the prompts of place 0, and counts up from there."""
        if seed is not None:
            self.rngs = generators(self.num_envs, seed)
        self._begin(np.arange(self.num_envs))
        return self._obs(), {"valid": self._valid()}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Append the actions (N,) where the last `info["valid"]` was True, and show the next token of each sequence.

        Raises:
            UsageError: an action is not a token, or one of the task's functions fails.
        """
        sequences, end = self.sequences, self.vocabulary.end
        if not sequences.lengths[0]:
            raise UsageError("reset() must come before step()")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() > end:
            raise UsageError(f"actions = {actions} are not {self.num_envs} tokens from 0 to {end}")
        rows = np.flatnonzero(self._valid())  # where the policy decides
        sequences.positions += ~self.waiting
        sequences.append(rows, actions[rows])
        rewards = np.zeros(self.num_envs)
        if self.task.per_token and len(rows):  # before the environment replies
            rewards[rows] = self.task.score(sequences.completions(rows))
        turn = np.zeros(self.num_envs, bool)  # the policy ended its turn
        turn[rows] = actions[rows] == end
        over = turn & ~self._reply(np.flatnonzero(turn & (sequences.decisions < self.task.max_tokens)))
        self.limit[rows] = ~over[rows] & (sequences.decisions[rows] >= self.task.max_tokens)
        self.waiting |= over | self.limit
        done = self.waiting.reshape(-1, self.group_size).all(1).repeat(self.group_size)  # (N,)
        finished = np.flatnonzero(done)
        if not self.task.per_token and len(finished):
            rewards[finished] = self.task.score(sequences.completions(finished))
        rewards[done & self.limit] -= self.task.missing_end
        self.returns += rewards
        truncated = done & self.limit & self.task.continues
        infos = self._metrics(finished) if len(finished) else {}
        if truncated.any():
            infos |= {"final_obs": self._obs(), "_final_obs": truncated}
        self._begin(finished)
        return self._obs(), rewards, done & ~truncated, truncated, infos | {"valid": self._valid()}

    def render(self) -> tuple[str, ...]:
        """Return a line for the last finished sequence of each place: its return, prompt and response."""
        return tuple(f"{value:8.3f}  {completion}" for _, (completion, value) in sorted(self.samples.items()))

    def demonstrate(self, rng: np.random.Generator) -> Demonstration:
        """Draw the tokens of a prompt and a good response; in a dialogue, of a prompt, a turn, a reply, a turn, ….

        Raises:
            UsageError: the task has no function that draws demonstrations.
        """
        if not callable(self.task.demonstrate):
            return super().demonstrate(rng)
        return self.task.demonstration(call("demonstrate", self.task.demonstrate, rng))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return a copy of what the task remembers; see `ppo.text.state`."""
        return state_of(self.task)

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UsageError: it belongs to another task.
        """
        restore(self.task, tensors)

    def set_training(self, training: bool) -> None:
        """Tell the task whether it is used in training or in an evaluation."""
        for name, owner in objects(self.task, "set_training").items():
            call(f"{name}.set_training", owner.set_training, training)

    def _valid(self) -> np.ndarray:
        """Return (N,) bool: the next action is a decision."""
        return self.sequences.at_last_token() & ~self.waiting

    def _begin(self, rows: np.ndarray) -> None:
        """Replace sequences, always whole groups, by the end token and a prompt."""
        prompts = [self.task.draw(self.rngs[n]) for n in rows[:: self.group_size]]
        self.sequences.begin(rows, [prompt for prompt in prompts for _ in range(self.group_size)])
        self.returns[rows] = 0
        self.waiting[rows] = self.limit[rows] = False

    def _reply(self, rows: np.ndarray) -> np.ndarray:
        """Append the replies to sequences whose turn has just ended -> (N,) bool, there was a reply."""
        replied = np.zeros(self.num_envs, bool)
        if self.task.reply is None or not len(rows):
            return replied
        for n, tokens in zip(rows, self.task.replies(self.sequences.completions(rows)), strict=True):
            if tokens is not None:
                self.sequences.append_reply(n, tokens)
                replied[n] = True
        return replied

    def _metrics(self, rows: np.ndarray) -> dict[str, Any]:
        """Return the info about sequences that have finished: their metrics."""
        completions = self.sequences.completions(rows)
        self.samples |= {n: (c, float(self.returns[n])) for n, c in zip(rows.tolist(), completions, strict=True)}
        metrics = {name: np.zeros(self.num_envs) for name in ("ended", *self.task.metrics)}
        metrics["ended"][rows] = ~self.limit[rows]
        for name in self.task.metrics:
            metrics[name][rows] = self.task.score(completions, name)
        return metrics

    def _obs(self) -> Any:
        obs, rows = {"token": self.sequences.current_tokens()}, np.flatnonzero(self._valid())
        deciding = self.sequences.completions(rows) if self.task.mask is not None and not self.task.features else []
        if self.task.features:  # of all sequences, so that those that the mask is about are among them
            every = self.sequences.completions(np.arange(self.num_envs))
            obs["features"] = call("features", self.task.features[1], every)
            deciding = [every[n] for n in rows]
        if self.task.masked:
            obs["action_mask"] = self._mask(rows, deciding)
        return obs if len(obs) > 1 else obs["token"]

    def _mask(self, rows: np.ndarray, deciding: list[Completion]) -> np.ndarray:
        """Return (N, V): which tokens may follow in `rows`, which are `deciding`; all where the policy does not decide."""
        mask = np.ones((self.num_envs, len(self.vocabulary)), np.int8)
        if deciding:
            mask[rows] = self.task.allowed(deciding)
        mask[rows[self.sequences.decisions[rows] < self.task.min_tokens], self.vocabulary.end] = 0
        return mask


def pack_tokens(space: Space[Any], tokens: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return tokens of any shape as packed observations of a text environment; an action mask allows every token.

    Raises:
        UsageError: the environment shows features together with the tokens.
    """
    obs: Any = tokens.reshape(-1)
    if isinstance(space, Dict):
        if "features" in space.spaces:
            raise UsageError(
                "the task shows features together with its tokens; pretraining and reward models need a task without"
            )
        obs = {"token": obs, "action_mask": np.ones((obs.size, packed_size(space["action_mask"])), np.int8)}
    return Packer(space, device)(obs).unflatten(0, tokens.shape)


def register(env_id: str, task: Callable[..., Task]) -> None:
    """Register a text environment, so that `ppo train ENV_ID` and `gymnasium.make_vec` know it.

    Args:
        env_id: "text/Name-v0", or another id that Gymnasium allows.
        task: returns the task; its arguments are the environment's keyword arguments.
    """

    def make(num_envs: int = 1, group_size: int = 1, render_mode: str | None = None, **kwargs: Any) -> TokenEnv:
        check_arguments(env_id, task, kwargs)
        return TokenEnv(task(**kwargs), num_envs, group_size)

    gymnasium.register(env_id, vector_entry_point=make)
