"""A network of your own: a policy that remembers its last four observations, on a CartPole that hides its velocities.

    python examples/own_policy.py                                                       # from Python, as below
    cd examples && ppo train own_policy:HiddenCartPole-v0 --policy own_policy:Window    # the same on the command line

A policy is one class with `forward`. Memory is a `state` of shape (N, H) that it reads, changes and returns; without memory,
leave `state_size` at 0 and return the state as it came. One observation does not tell how fast the pole falls, so the built-in
mlp balances it for about 50 steps. With four observations the speed is known: 500 steps, the longest episode.
"""

from typing import Any

import gymnasium
import torch
from gymnasium.spaces import Box, Space
from gymnasium.wrappers import TransformObservation
from torch import Tensor, nn

from ppo import Features, Head, Policy, Trainer, evaluate, preset

OBSERVATIONS = 4  # that the policy remembers


class Window(Policy):
    """Two layers over the last observations; actor and critic share the first."""

    def __init__(
        self, obs_space: Space[Any], action_space: Space[Any], *, normalize_obs: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.features = Features(obs_space, normalize_obs)  # reads observations of any space
        self.head = Head(action_space, self.features.mask_size, **options)  # a distribution for any action space
        self.state_size = OBSERVATIONS * self.features.size
        self.shared = nn.Sequential(nn.Linear(self.state_size, 64), nn.Tanh())
        self.actor = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, self.head.num_outputs))
        self.critic = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Return the distribution over actions, the values (T, N), and the state (N, H) after the last step."""
        features, mask = self.features(obs)  # (T, N, F)
        states = []
        for x, start in zip(features, starts, strict=True):  # one step of T
            state = state.masked_fill(start.unsqueeze(-1), 0.0)  # an episode begins with an empty memory
            state = torch.cat([state[:, x.shape[-1] :], x], dim=-1)  # (N, H): forget the oldest, append the newest
            states.append(state)
        shared = self.shared(torch.stack(states))  # (T, N, 64)
        return self.head(self.actor(shared), mask), self.critic(shared).squeeze(-1), state


def hidden_cart_pole(**options: Any) -> gymnasium.Env:
    """Return CartPole with only the position and the angle in its observation."""
    env = gymnasium.make("CartPole-v1", **options)
    space = env.observation_space
    assert isinstance(space, Box)
    return TransformObservation(env, lambda obs: obs[::2], Box(space.low[::2], space.high[::2]))


gymnasium.register("HiddenCartPole-v0", entry_point=hidden_cart_pole)


def main(total_timesteps: int = 32_000) -> dict[str, float]:
    """Train both policies and return the mean return of each over ten episodes."""
    returns = {}
    for policy in ("mlp", "own_policy:Window"):
        config = preset("own_policy:HiddenCartPole-v0", policy=policy)
        settings = {"total_timesteps": total_timesteps, "learning_rate": 2e-3, "exp_name": policy.split(":")[-1]}
        run = Trainer(config.replace(settings)).train()
        returns[policy] = evaluate(run, episodes=10).mean
        print(f"{policy:18} balances for {returns[policy]:.0f} steps")
    return returns


if __name__ == "__main__":
    main()
