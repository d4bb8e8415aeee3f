"""The token environment: one token is one step, N sequences side by side, each followed by the next in place.

A sequence is the end token, the prompt, and what the policy writes. Each step shows one token of it. Where that is not
the last one known, the action does not count (`info["valid"]` is False) and the next token follows: so prompts enter, of
any length, and so the environment's own tokens in mid-sequence. Nothing is padded.
"""

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Dict, Discrete, MultiBinary, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ppo.envs.spaces import Packer, packed_size
from ppo.errors import UsageError
from ppo.text.task import Completion, Task, call


class TokenEnv(VectorEnv):
    """Write tokens, one a step.

    Actions are tokens, `Discrete(V)`; so are observations, those that are only shown included, with the action mask beside
    them where the task rules tokens out. A sequence that is over gives its place to the next one in the same step (SAME_STEP).

    Args:
        task: what is to be written.
        num_envs: N.
        group_size: places side by side that get the same prompt; those that have finished wait for the others of their
            group, in rows that are no decision, and all are rewarded and replaced together.

    Raises:
        UsageError: the groups do not fill the places.
    """

    def __init__(self, task: Task, num_envs: int, group_size: int = 1) -> None:
        if not isinstance(task, Task):
            raise UsageError(f"{task!r:.60} is no Task; what is registered is to return one")
        if num_envs % group_size:
            raise UsageError(f"group_size = {group_size} does not divide num_envs = {num_envs}; choose a divisor")
        self.group_size = group_size
        self.task, self.num_envs = task, num_envs
        self.vocabulary, self.end = task.vocabulary, task.vocabulary.end
        self.metrics = ("ended", *task.metrics)
        self.metadata = {
            "autoreset_mode": AutoresetMode.SAME_STEP, "metrics": self.metrics, "symbols": task.vocabulary.symbols,
            "rewarded": task.reward is not None,
        }  # fmt: skip
        self.render_mode = "ansi"
        self.masked = task.mask is not None or task.min_tokens > 0
        self.single_action_space, token = Discrete(len(task.vocabulary)), Discrete(task.vocabulary.size)
        both = [("token", token), ("action_mask", MultiBinary(len(task.vocabulary)))]
        self.single_observation_space = Dict(both) if self.masked else token
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.rng = np.random.default_rng()
        self.tokens = np.zeros((num_envs, 1 + task.max_tokens), np.int64)  # (N, width) known so far
        self.known, self.prompted, self.written, self.at = np.zeros((4, num_envs), np.int64)  # (N,) each
        self.infos: list[Any] = [None] * num_envs
        self.changes: list[list[int]] = [[] for _ in range(num_envs)]  # where replies begin, and turns after them
        self.returns = np.zeros(num_envs)  # (N,) of the sequences under way
        self.finished: dict[int, tuple[Completion, float]] = {}  # the last one of each place, and its return
        self.waiting, self.limit = np.zeros((2, num_envs), bool)  # (N,) finished, and at the limit of its length
        self.begun = False

    @property
    def demonstrations(self) -> list[tuple[list[int], ...]]:
        """The tokens of prompts and good responses to them, where the task has a list of such."""
        given = self.task.demonstrate
        return [] if given is None or callable(given) else [self._encoded(pair) for pair in given]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new sequences; `seed` seeds the prompts."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.begun = True
        self._begin(np.arange(self.num_envs))
        return self._obs(), {"valid": self._valid()}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one token for each sequence, which counts where `info["valid"]` of the step before said so.

        Raises:
            UsageError: a token is none of the vocabulary, or one of the task's functions fails.
        """
        if not self.begun:
            raise UsageError("reset() must come before step()")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() > self.end:
            raise UsageError(f"actions = {actions} are not {self.num_envs} tokens from 0 to {self.end}")
        asked = np.flatnonzero(self._valid())
        self.at += ~self.waiting
        self._append(asked, actions[asked])
        self.written[asked] += 1
        rewards = np.zeros(self.num_envs)
        if self.task.per_token and len(asked):  # before the environment answers
            rewards[asked] = self.task.score(self._completions(asked))
        turn = np.zeros(self.num_envs, bool)  # the policy ended its turn
        turn[asked] = actions[asked] == self.end
        over = turn & ~self._replied(np.flatnonzero(turn & (self.written < self.task.max_tokens)))
        self.limit[asked] = ~over[asked] & (self.written[asked] >= self.task.max_tokens)
        self.waiting |= over | self.limit
        done = self.waiting.reshape(-1, self.group_size).all(1).repeat(self.group_size)  # (N,)
        ended = np.flatnonzero(done)
        if not self.task.per_token and len(ended):
            rewards[ended] = self.task.score(self._completions(ended))
        rewards[done & self.limit] -= self.task.missing_end
        self.returns += rewards
        truncated = done & self.limit & self.task.continues
        infos = self._final(ended) if len(ended) else {}
        if truncated.any():
            infos |= {"final_obs": self._obs(), "_final_obs": truncated}
        self._begin(ended)
        return self._obs(), rewards, done & ~truncated, truncated, infos | {"valid": self._valid()}

    def render(self) -> tuple[str, ...]:
        """Return a line for the last finished sequence of each place: its return, prompt and response."""
        return tuple(f"{value:8.3f}  {c}" for _, (c, value) in sorted(self.finished.items()))

    def demonstrate(self, rng: np.random.Generator) -> tuple[list[int], ...]:
        """Return the tokens of a prompt and of a good response to it; in a dialogue, of turns and replies alternately.

        Raises:
            UsageError: the task has none to show.
        """
        if not callable(self.task.demonstrate):
            raise UsageError("the task has no demonstrations; give a text file with --corpus")
        return self._encoded(call("demonstrate", self.task.demonstrate, rng))

    def _encoded(self, parts: tuple[str, ...]) -> tuple[list[int], ...]:
        return tuple(self.vocabulary.encode(part) for part in parts)

    def completion(self, n: int) -> Completion:
        """Return sequence n as far as it is known."""
        known, prompted = int(self.known[n]), int(self.prompted[n])
        ended = known > prompted and self.tokens[n, known - 1] == self.end
        tokens = self.tokens[n, : known - ended].tolist()
        bounds = itertools.pairwise([prompted, *self.changes[n], len(tokens)])
        return Completion(
            self.task.vocabulary, tuple(tokens[1:prompted]), tuple(tokens[prompted:]), ended, self.infos[n],
            tuple(tuple(tokens[begin:stop]) for begin, stop in bounds),
        )  # fmt: skip

    def _completions(self, index: np.ndarray) -> list[Completion]:
        return [self.completion(n) for n in index]

    def _valid(self) -> np.ndarray:
        """Return (N,) bool: the token that is shown is the last one known, so that the policy writes the next."""
        return (self.at == self.known - 1) & ~self.waiting

    def _begin(self, index: np.ndarray) -> None:
        """Replace sequences by new ones: the end token and a prompt."""
        for n in index:  # whole groups, in order
            if n % self.group_size == 0:
                prompt, info = self.task.draw(self.rng)
            self.infos[n], self.changes[n] = info, []
            self.known[n] = self.prompted[n] = 1 + len(prompt)
            self._widen(int(self.known[n]) + self.task.max_tokens)
            self.tokens[n, 0], self.tokens[n, 1 : 1 + len(prompt)] = self.end, prompt
        self.at[index] = self.written[index] = self.returns[index] = 0
        self.waiting[index] = self.limit[index] = False

    def _append(self, index: np.ndarray, tokens: np.ndarray) -> None:
        self.tokens[index, self.known[index]] = tokens
        self.known[index] += 1

    def _replied(self, index: np.ndarray) -> np.ndarray:
        """Append what the environment answers to those that ended their turn -> (N,) bool, there was an answer."""
        found = np.zeros(self.num_envs, bool)
        if self.task.reply is None or not len(index):
            return found
        replies = call("reply", self.task.reply, self._completions(index))
        if len(replies) != len(index):
            raise UsageError(f"the task's reply function gave {len(replies)} replies to {len(index)} completions")
        for n, text in zip(index, replies, strict=True):
            if text is not None:
                tokens = self.task.vocabulary.encode(text)
                self._widen(int(self.known[n]) + len(tokens) + self.task.max_tokens)
                self.tokens[n, self.known[n] : self.known[n] + len(tokens)] = tokens
                self.changes[n] += [int(self.known[n]), int(self.known[n]) + len(tokens)]
                self.known[n] += len(tokens)
                found[n] = True
        return found

    def _widen(self, width: int) -> None:
        if width > self.tokens.shape[1]:
            more = np.zeros((self.num_envs, 2 * width - self.tokens.shape[1]), np.int64)
            self.tokens = np.concatenate([self.tokens, more], axis=1)

    def _final(self, index: np.ndarray) -> dict[str, Any]:
        """Return what an info says of sequences that are over: their metrics."""
        completions, where = self._completions(index), np.zeros(self.num_envs, bool)
        self.finished |= {n: (c, float(self.returns[n])) for n, c in zip(index.tolist(), completions, strict=True)}
        where[index] = True
        metrics = {name: np.zeros(self.num_envs) for name in self.metrics}
        metrics["ended"][index] = ~self.limit[index]
        for name in self.task.metrics:
            metrics[name][index] = self.task.score(completions, name)
        return {"metrics": metrics, "_metrics": where}

    def _obs(self) -> Any:
        tokens = self.tokens[np.arange(self.num_envs), self.at]
        return {"token": tokens, "action_mask": self._mask()} if self.masked else tokens

    def _mask(self) -> np.ndarray:
        """Return (N, V): what may follow; everything where the policy is not asked.

        Raises:
            UsageError: the task's mask has another shape.
        """
        mask = np.ones((self.num_envs, self.end + 1), np.int8)
        asked = np.flatnonzero(self._valid())
        if self.task.mask is not None and len(asked):
            given = np.asarray(call("mask", self.task.mask, self._completions(asked)))
            if given.shape != (len(asked), self.end + 1):
                raise UsageError(
                    f"the mask of {len(asked)} completions has the shape {given.shape}; return {(len(asked), self.end + 1)}"
                )
            mask[asked] = given
        mask[asked[self.written[asked] < self.task.min_tokens], self.end] = 0
        return mask


def packed(space: Space[Any], tokens: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return tokens of any shape as packed observations of a text environment, whose mask rules nothing out here."""
    obs: Any = tokens.reshape(-1)
    if isinstance(space, Dict):
        obs = {"token": obs, "action_mask": np.ones((obs.size, packed_size(space["action_mask"])), np.int8)}
    return Packer(space, device)(obs).unflatten(0, tokens.shape)


def register(env_id: str, task: Callable[..., Task]) -> None:
    """Register a text environment, so that `ppo train ENV_ID` and `gymnasium.make_vec` find it.

    Args:
        env_id: "text/Name-v0", or whatever Gymnasium allows.
        task: makes the task; its arguments are the environment's keyword arguments.
    """

    def make(num_envs: int = 1, group_size: int = 1, **kwargs: Any) -> TokenEnv:
        return TokenEnv(task(**kwargs), num_envs, group_size)

    gymnasium.register(env_id, vector_entry_point=make)
