"""What `import ppo` offers: the names that a user's own program needs."""

from ppo.config import Config
from ppo.config.presets import preset
from ppo.envs import make_envs
from ppo.errors import NonFiniteError, UsageError
from ppo.evaluation import evaluate
from ppo.exporting import export
from ppo.loop.trainer import Trainer
from ppo.player import Player, load_policy
from ppo.policies import Features, Head, Policy
from ppo.recording import record
from ppo.sampling import sample
from ppo.supervised.pretrain import pretrain
from ppo.supervised.reward_model import train_reward_model

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
    "export",
    "load_policy",
    "make_envs",
    "preset",
    "pretrain",
    "record",
    "sample",
    "train_reward_model",
]
