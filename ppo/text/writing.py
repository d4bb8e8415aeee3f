"""Writing: whole sequences by a policy, outside of training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from ppo.envs.spaces import Packer
from ppo.text.completion import Completion
from ppo.text.env import TokenEnv

MAX_STEPS = 27_000  # of a sequence


@torch.no_grad()
def write(
    policy: Callable[..., Any], head: Any, state: Tensor, envs: VectorEnv, seed: int, deterministic: bool = False
) -> list[tuple[Completion, float]]:
    """Return the first sequence of each of the N environments, with its return; the first N to finish would be too short on average.

    Args:
        policy: (obs, state, starts) -> dist, values, state.
        head: of the policy.
        state: (N, H), the initial state.
        envs: a `TokenEnv`, perhaps in wrappers; what its task remembers changes.
        seed: of prompts and sampling.
        deterministic: take the most probable token instead of sampling.
    """
    env = envs.unwrapped
    assert isinstance(env, TokenEnv)
    torch.manual_seed(seed)
    env.set_training(False)
    env.samples = {}
    packer, starts = Packer(envs.single_observation_space, state.device), torch.ones(envs.num_envs, dtype=torch.bool)
    obs, _ = envs.reset(seed=seed)
    samples: dict[int, tuple[Completion, float]] = {}
    for _ in range(MAX_STEPS):
        noise = head.noise(envs.num_envs, deterministic=deterministic)
        dist, _, state = policy(packer(obs).unsqueeze(0), state, starts.to(state.device).unsqueeze(0))
        actions = dist.sample(noise.unsqueeze(0))[0]
        obs, _, terminated, truncated, _ = envs.step(head.to_env(actions))
        starts = torch.from_numpy(np.logical_or(terminated, truncated))
        samples = env.samples | samples
        if len(samples) == envs.num_envs:
            break
    return [samples[n] for n in sorted(samples)]
