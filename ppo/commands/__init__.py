"""The commands: a dataclass each, whose fields are its flags and whose `run` does it."""

from ppo.commands.console import console
from ppo.commands.learn import Pretrain, Resume, Reward, Train
from ppo.commands.look import Chat, Check, Compare, Data, Envs, Eval, Export, Sample

__all__ = ["COMMANDS", "Command", "Pretrain", "Reward", "Train", "console"]

Command = Train | Data | Pretrain | Reward | Resume | Eval | Export | Sample | Chat | Check | Envs | Compare
COMMANDS = {
    "train": Train, "data": Data, "pretrain": Pretrain, "reward": Reward, "resume": Resume, "eval": Eval,
    "export": Export, "sample": Sample, "chat": Chat, "check": Check, "envs": Envs, "compare": Compare,
}  # fmt: skip
