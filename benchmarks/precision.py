"""Images per CPU-second of the whole optimizer step, in float32 and in bfloat16: `python -m benchmarks.precision [compile]`."""

import statistics
import sys
import time

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from ppo.config import Config
from ppo.loop.learner import Learner
from ppo.loop.rollout import Rollout, Successors
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy

POLICIES = ("cnn", "impala")
STEPS, ENVS, SHAPE, ACTIONS, ROUNDS = 128, 8, (4, 84, 84), 4, 9  # four minibatches of 256, as Atari's


def rollout() -> Rollout:
    """Return a rollout of noise."""
    zeros, flags = torch.zeros(STEPS, ENVS), torch.zeros(STEPS, ENVS, dtype=torch.bool)
    obs = torch.randint(0, 256, (STEPS, ENVS, *SHAPE), dtype=torch.uint8)
    last = Successors(torch.arange((STEPS - 1) * ENVS, STEPS * ENVS), obs[-1], torch.zeros(ENVS, 0))
    return Rollout(
        obs=obs, states=torch.zeros(STEPS, ENVS, 0), starts=flags, valid=~flags, log_probs=zeros - np.log(ACTIONS),
        actions=torch.randint(0, ACTIONS, (STEPS, ENVS)), rewards=torch.rand(STEPS, ENVS), penalties=zeros, kl_coefs=zeros, reference=zeros.new_zeros(*zeros.shape, 0), values=zeros,
        terminated=flags, truncated=flags, value_ends=flags, next_values=zeros, next_valid=torch.ones(ENVS, dtype=torch.bool), successors=last,
    )  # fmt: skip


def main() -> None:
    """Print the median of each policy and precision, which take turns, on one thread."""
    torch.set_num_threads(1)
    sizes = {"num_envs": ENVS, "num_steps": STEPS, "num_minibatches": 4, "update_epochs": 1, "anneal_lr": False}
    config, batch, compiled = Config().replace(sizes), rollout(), "compile" in sys.argv
    for name in POLICIES:
        learners = dict[str, Learner]()
        for precision in ("float32", "bfloat16"):
            policy = build_policy(name, Box(0, 255, SHAPE, np.uint8), Discrete(ACTIONS), {})
            learners[precision] = Learner(FlatPolicy(policy, precision), config, compiled)
            learners[precision].update(batch, 0.0)  # compiles
        speeds: dict[str, list[float]] = {precision: [] for precision in learners}
        for _ in range(ROUNDS):
            for precision, learner in learners.items():
                begin = time.process_time()
                learner.update(batch, 0.0)
                speeds[precision].append(STEPS * ENVS / (time.process_time() - begin))
        for precision, values in speeds.items():
            print(f"{name} {precision}: {statistics.median(values):,.0f} images per CPU-second", flush=True)


if __name__ == "__main__":
    main()
