"""Samples: what a policy of tokens writes, and what it is worth."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from ppo.collector import MAX_STEPS, act
from ppo.envs import check_envs, make_envs
from ppo.envs.spaces import Packer, spaces_of
from ppo.errors import UsageError
from ppo.flat import FlatPolicy
from ppo.policies import Policy
from ppo.saved import load
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
    envs = make_envs(saved.config.env_id, number, saved.config.vectorization, saved.config.env_kwargs)
    with contextlib.closing(check_envs(envs)) as envs:
        env = envs.unwrapped
        if not isinstance(env, TokenEnv):
            raise UsageError(f"{saved.config.env_id} is no environment in which a policy writes text; use `ppo eval`")
        if spaces_of(envs) != saved.meta["spaces"]:
            raise UsageError(f"{saved.config.env_id} has another vocabulary than the policy was trained with")
        if prompt is not None:
            env.task = replace(env.task, prompt=lambda rng: prompt)
        return _write(saved.policy, envs, env, seed, deterministic)


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
