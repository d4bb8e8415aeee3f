"""Samples: what a policy of tokens writes, and what it is worth."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from ppo.envs.spaces import Packer
from ppo.errors import UsageError
from ppo.loop.collector import act
from ppo.loop.play import MAX_STEPS
from ppo.machine.flat import FlatPolicy
from ppo.policies import Policy
from ppo.run.load import Saved, envs_for, load
from ppo.text import Completion, TokenEnv


def sample(
    run: str | Path,
    number: int = 10,
    prompt: str | None = None,
    checkpoint: str = "latest",
    seed: int = 0,
    deterministic: bool = False,
    **options: Any,
) -> list[tuple[Completion, float]]:
    """Return sequences that a run's policy writes, and their returns.

    Args:
        run: the run's folder.
        number: sequences to write.
        prompt: what each begins with; None draws the task's own prompts.
        checkpoint: as in `load_policy`.
        seed: of prompts and sampling.
        deterministic: take the most probable token each time.
        options: temperature, top_k, top_p, where they are to be others than in the run.

    Raises:
        UsageError: the run is not of a text environment in which the policy writes, or the prompt is not of its vocabulary.
    """
    if number < 1:
        raise UsageError(f"n = {number} is too few; choose at least 1")
    saved = load(run, checkpoint, **options)
    saved.config.replace({"seed": seed}).validate()
    with contextlib.closing(envs_for(saved, number)) as envs:
        env = _tokens(saved, envs)
        if prompt is not None:
            vocabulary = env.vocabulary
            if vocabulary.unknown and vocabulary.ids[vocabulary.unknown] in vocabulary.encode(prompt):
                raise UsageError(
                    f"{prompt!r} holds what is none of the {len(vocabulary) - 1} symbols of the vocabulary"
                )
            env.task = replace(env.task, prompt=lambda rng: prompt)
        return _write(saved.policy, envs, env, seed, deterministic)


def chat(
    run: str | Path, ask: Callable[[str], str | None], checkpoint: str = "latest", seed: int = 0
) -> Completion | None:
    """Let a person take the environment's side of a dialogue with a run's policy; return it, None if nothing was said.

    Args:
        run: the run's folder.
        ask: shows what the policy says, or why the person was not understood, and returns what the person says; None ends
            the dialogue.
        checkpoint: as in `load_policy`.
        seed: of sampling.

    Raises:
        UsageError: the run is not of a dialogue.
    """
    saved = load(run, checkpoint)
    saved.config.replace({"seed": seed}).validate()
    with contextlib.closing(envs_for(saved, 1)) as envs:
        env = _tokens(saved, envs)
        if env.task.reply is None:
            raise UsageError(f"{saved.config.env_id} is no dialogue: its environment answers nothing; use `ppo sample`")

        def heard(shown: str) -> str | None:
            while (text := ask(shown)) is not None:
                try:
                    env.vocabulary.encode(text)
                    return text
                except UsageError as error:
                    shown = f"({error})"
            return None

        first = heard(f"(it knows these words: {' '.join(env.vocabulary.symbols)})")
        if first is None:
            return None
        env.task = replace(
            env.task, reward=None, metrics={}, prompt=lambda rng: first,
            reply=lambda completions: [heard(completions[0].said[-1])],
        )  # fmt: skip
        env.metrics = ("ended",)  # what the task knows of its own users is not of this one
        return _write(saved.policy, envs, env, seed, False)[0][0]


def _tokens(saved: Saved, envs: VectorEnv) -> TokenEnv:
    """Return the text environment within.

    Raises:
        UsageError: it is none, or none in which a policy writes.
    """
    if not isinstance(envs.unwrapped, TokenEnv):
        raise UsageError(f"{saved.config.env_id} is no environment in which a policy writes text; use `ppo eval`")
    return envs.unwrapped


@torch.no_grad()
def _write(
    policy: Policy, envs: VectorEnv, env: TokenEnv, seed: int, deterministic: bool
) -> list[tuple[Completion, float]]:
    """Return the first sequence of each place: with the first N of all, short ones would be told more often."""
    torch.manual_seed(seed)
    flat, packer = FlatPolicy(policy), Packer(envs.single_observation_space)
    obs, _ = envs.reset(seed=seed)
    state, starts = policy.initial_state(envs.num_envs), torch.ones(envs.num_envs, dtype=torch.bool)
    found: dict[int, tuple[Completion, float]] = {}
    for _ in range(MAX_STEPS):
        noise = policy.head.noise(envs.num_envs, deterministic=deterministic)
        actions, _, _, state = act(flat, packer(obs), state, starts, noise)
        obs, _, terminated, truncated, _ = envs.step(policy.head.to_env(actions))
        starts = torch.from_numpy(np.logical_or(terminated, truncated))
        found = env.finished | found
        if len(found) == envs.num_envs:
            break
    return [found[n] for n in sorted(found)]
