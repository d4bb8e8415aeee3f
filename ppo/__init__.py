"""PPO and actor-critic training on any Gymnasium environment, in pure PyTorch."""

from ppo.config import Config
from ppo.envs import make_envs
from ppo.errors import NonFiniteError, UsageError
from ppo.evaluate import Player, evaluate, load_policy
from ppo.policies import Features, Head, Policy
from ppo.presets import preset
from ppo.trainer import Trainer

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Features",
    "Head",
    "NonFiniteError",
    "Player",
    "Policy",
    "Trainer",
    "UsageError",
    "evaluate",
    "load_policy",
    "make_envs",
    "preset",
]
