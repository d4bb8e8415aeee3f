from torch import nn

from ppo import Features, Head, Policy


class Residual(Policy):
    """A feed-forward policy with a skip connection; actor and critic share it."""

    def __init__(self, obs_space, action_space, *, normalize_obs, **options):
        super().__init__()
        self.features = Features(obs_space, normalize_obs)
        self.head = Head(action_space, self.features.mask_size, **options)
        self.first = nn.Linear(self.features.size, 64)
        self.second = nn.Linear(64, 64)
        self.actor = nn.Linear(64, self.head.num_outputs)
        self.critic = nn.Linear(64, 1)

    def forward(self, obs, state, starts):
        x, mask = self.features(obs)  # (T, N, F)
        x = self.first(x).tanh()
        x = x + self.second(x).tanh()
        return self.head(self.actor(x), mask), self.critic(x).squeeze(-1), state
