"""The traffic light: its exact values, Q-learning and PPO agree."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from benchmarks.q_learning import learn
from ppo import Trainer, load_policy, preset
from ppo.envs.traffic_light import CHANGES, REWARDS, best_values


def test_the_light_changes_with_its_probabilities_for_any_action():
    env = gymnasium.make("ppo.envs.traffic_light:TrafficLight-v0")
    check_env(env.unwrapped, skip_render_check=True)
    light, _ = env.reset(seed=0)
    counts, cut = np.zeros((2, 2)), 0
    for step in range(20_000):
        after, reward, terminated, truncated, _ = env.step(step % 2)
        counts[light, after] += 1
        assert reward == REWARDS[light, step % 2]
        assert not terminated
        cut += truncated
        light = env.reset()[0] if truncated else after
    assert cut == 200
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), CHANGES, atol=0.02)


def test_the_best_values_solve_bellmans_equation():
    best = np.linalg.solve(np.eye(2) - 0.9 * CHANGES, [0.5, 1.0])  # of stopping at red and driving at green
    expected = REWARDS + 0.9 * (CHANGES @ best)[:, None]
    np.testing.assert_allclose(best_values(0.9), expected, rtol=1e-10)
    np.testing.assert_allclose(best_values(0.0), REWARDS)


def test_q_learning_reaches_the_best_values():
    np.testing.assert_allclose(learn(1, 0.9), best_values(0.9), rtol=0.02)


@pytest.mark.slow
def test_ppo_finds_the_best_policy_and_its_value(tmp_path):
    config = preset("TrafficLight-v0").replace(
        {"runs_dir": str(tmp_path), "threads": 1, "compile": "off", "eval_episodes": 0}
    )
    player = load_policy(Trainer(config).train())
    assert [player.act(light)[0] for light in (0, 1)] == [0, 1]
    with torch.no_grad():
        values = player.policy(torch.tensor([[0, 1]]), player.policy.initial_state(2), torch.ones(1, 2).bool())[1]
    assert values[0].tolist() == pytest.approx(best_values(config.gamma).max(1).tolist(), rel=0.02)
