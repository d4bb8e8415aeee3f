"""Tabular Q-learning on the traffic light, against its exact values and against PPO.

    python -m benchmarks.q_learning

Both learn only from their own steps; dynamic programming on the known process gives the exact values.
"""

from pathlib import Path

import gymnasium
import numpy as np
import torch

from benchmarks import pages
from benchmarks.runs import RESULTS, finish, save, settings
from ppo import load_policy, preset
from ppo.config.setting import schedules
from ppo.envs.traffic_light import ACTIONS, STATES, best_values

SEEDS, STEPS = (1, 2, 3), 200_000


def learn(seed: int, gamma: float, epsilon: float = 0.2) -> np.ndarray:
    """Return Q(s, a), (2, 2), after STEPS steps of Q-learning (Watkins 1989); the step size falls as visits grow."""
    env, rng = gymnasium.make("TrafficLight-v0"), np.random.default_rng(seed)
    values, visits = np.zeros((2, 2)), np.zeros((2, 2))
    state, _ = env.reset(seed=seed)
    for _ in range(STEPS):
        action = int(rng.integers(2)) if rng.random() < epsilon else int(values[state].argmax())
        next_state, reward, terminated, truncated, _ = env.step(action)
        visits[state, action] += 1
        target = float(reward) + gamma * (0.0 if terminated else values[next_state].max())
        values[state, action] += (target - values[state, action]) / visits[state, action] ** 0.7
        state = env.reset()[0] if terminated or truncated else next_state
    return values


def actor_critic(seed: int) -> tuple[list[int], list[float]]:
    """Return the deterministic action of PPO's preset at each light, and its value."""
    player = load_policy(finish(settings("TrafficLight-v0", Path("runs/q_learning"), "light", seed)))
    with torch.no_grad():
        obs = torch.arange(2).unsqueeze(0)  # (1, 2)
        _, values, _ = player.policy(obs, player.policy.initial_state(2), torch.ones(1, 2, dtype=torch.bool))
    return [int(player.act(light, deterministic=True)[0]) for light in range(2)], values[0].tolist()


def main() -> None:
    """Learn by both methods and write figures and page."""
    gamma, rows = schedules(preset("TrafficLight-v0"))["gamma"].highest_end, []
    for seed in SEEDS:
        actions, values = actor_critic(seed)
        rows.append({"seed": seed, "q_values": learn(seed, gamma).tolist(), "values": values, "actions": actions})
    exact = {"states": STATES, "actions": ACTIONS, "exact": best_values(gamma).tolist()}
    save(RESULTS / "q_learning.json", "python -m benchmarks.q_learning", rows, steps=STEPS, gamma=gamma, **exact)
    pages.write()


if __name__ == "__main__":
    main()
