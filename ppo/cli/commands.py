"""The commands: a dataclass each, whose fields are its flags and whose `run` does it."""

from ppo.cli.inspect import Chat, Check, Compare, Data, Envs, Eval, Export, Sample
from ppo.cli.terminal import console
from ppo.cli.train import Pretrain, Resume, Reward, Train

__all__ = ["COMMANDS", "Command", "Pretrain", "Reward", "Train", "console"]

Command = Train | Data | Pretrain | Reward | Resume | Eval | Export | Sample | Chat | Check | Envs | Compare
COMMANDS = {
    "train": Train, "data": Data, "pretrain": Pretrain, "reward": Reward, "resume": Resume, "eval": Eval,
    "export": Export, "sample": Sample, "chat": Chat, "check": Check, "envs": Envs, "compare": Compare,
}  # fmt: skip
