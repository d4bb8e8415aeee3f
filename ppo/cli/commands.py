"""All commands by name: each is a dataclass whose fields are its flags."""

from ppo.cli.inspect import Chat, Check, Compare, Data, Envs, Eval, Export, Sample
from ppo.cli.train import Pretrain, Resume, Reward, Train

Command = Train | Resume | Eval | Check | Envs | Compare | Export | Pretrain | Sample | Chat | Data | Reward
COMMANDS = {
    "train": Train, "resume": Resume, "eval": Eval, "check": Check, "envs": Envs, "compare": Compare, "export": Export,
    "pretrain": Pretrain, "sample": Sample, "chat": Chat, "data": Data, "reward": Reward,
}  # fmt: skip
