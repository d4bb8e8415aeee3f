"""The frontier: the exact optimum near a reference."""

import numpy as np
import pytest
import torch

from ppo.policies import build_policy
from ppo.text import TokenEnv
from ppo.text.tasks.frontier import frontier, log_probs, optimum, reward_and_kl, rewards, sequences


def test_the_optimum_beats_its_neighbours_and_reaches_the_known_maximum():
    torch.manual_seed(0)
    env = TokenEnv(frontier(), 1)
    policy = build_policy("gru", env.single_observation_space, env.single_action_space, {})
    with torch.no_grad():
        policy.actor.weight.mul_(100)
    reference = log_probs(policy, policy.initial_state).double()
    assert len(reference) == len(sequences()) == len(rewards()) == sum(4**n for n in range(6))
    assert reference.exp().sum().item() == pytest.approx(1, abs=1e-5)
    reference = reference.log_softmax(0)
    best = optimum(reference, 0.5)
    objective = np.dot([1, -0.5], reward_and_kl(best, reference))
    for _ in range(20):
        other = (best + 0.1 * torch.randn_like(best)).log_softmax(0)
        assert np.dot([1, -0.5], reward_and_kl(other, reference)) < objective
    # max E[r] − β KL = β log Σ π_ref exp(r / β)
    reward = torch.tensor(list(rewards().values()), dtype=torch.float64)
    assert objective == pytest.approx(0.5 * float((reference + reward / 0.5).logsumexp(0)))


def test_the_environment_gives_the_rewards_of_the_table():
    env, table = TokenEnv(frontier(), 1), rewards()
    for letters, ended in [((), True), ((0, 3), True), ((1, 1, 1, 1), True), ((2, 0, 1, 3, 3), False)]:
        env.reset(seed=0)
        earned = [env.step(np.array([token]))[1][0] for token in [*letters, *([4] if ended else [])]]
        assert sum(earned) == table[letters, ended]
        assert (table[letters, ended] == 0) == (not ended)
