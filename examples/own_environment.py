import gymnasium
from gymnasium.spaces import Discrete


class Corridor(gymnasium.Env):
    """Walk right through ten cells; every step costs."""

    observation_space, action_space = Discrete(10), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 0
        return self.cell, {}

    def step(self, action):
        self.cell = max(self.cell + (1 if action == 1 else -1), 0)
        done = self.cell == 9
        return self.cell, 1.0 if done else -0.1, done, False, {}


gymnasium.register("Corridor-v0", entry_point=Corridor, max_episode_steps=100)
