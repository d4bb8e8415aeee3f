"""The command line: arguments become a command, and an error that the user can correct becomes one sentence."""

import difflib
import functools
import inspect
import operator
import os
import sys
from typing import Annotated, Any, NoReturn

import tyro
from tyro.conf import subcommand

from ppo.cli.compare import Compare
from ppo.cli.data import Data
from ppo.cli.environments import Check, Envs
from ppo.cli.flags import FLAGS, Changes, one_sentence, wrapped
from ppo.cli.processes import spread
from ppo.cli.report import Report
from ppo.cli.reporter import Phases
from ppo.cli.runs import Chat, Eval, Export, Record, Sample
from ppo.cli.terminal import console, print_error
from ppo.cli.train import Pretrain, Resume, Reward, Train
from ppo.cli.tune import Tune
from ppo.cli.watch import Watch
from ppo.config import Config
from ppo.config.presets import preset
from ppo.config.setting import check_changeable
from ppo.config.values import read_toml
from ppo.errors import NonFiniteError, UsageError, address, printable
from ppo.machine import agent
from ppo.machine.distributed import LOST_CODE, RankLost, launched, rank
from ppo.machine.imports import trusting
from ppo.machine.process import heed_signals
from ppo.run.load import config_of, inherited

COMMANDS: dict[str, Any] = {  # in the order in which a newcomer needs them; text at the end
    "train": Train,
    "eval": Eval,
    "resume": Resume,
    "watch": Watch,
    "compare": Compare,
    "tune": Tune,
    "check": Check,
    "envs": Envs,
    "export": Export,
    "record": Record,
    "pretrain": Pretrain,
    "reward": Reward,
    "sample": Sample,
    "chat": Chat,
    "data": Data,
    "report": Report,
}
WELCOME = f"""PPO and actor-critic training on any Gymnasium environment, in pure PyTorch.

  ppo train CartPole-v1               train a policy; takes seconds
  ppo eval runs/CartPole-v1__ppo__s1  play episodes with it
  ppo train --help                    every setting, with the preset's value

Start here: {address("start")}; all pages: {address("index")}
"""
LEARNING = (Train, Pretrain, Reward, Tune)  # the commands with settings, whose defaults are the environment's preset


def main(args: list[str] | None = None) -> None:
    """Run a command, or without one print the help; an error that the user can correct is one sentence and exit code 2."""
    args = (sys.argv[1:] if args is None else args) or ["--help"]
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())  # of the user's own modules, which hide no installed package from there
    if agent.attached():
        agent.end_with_agent()
        heed_signals()
    code = agent.outcome(agent.notes())
    if code is not None:  # before this restart, which would end alike
        sys.exit(code)
    try:
        command = parse(args)
        spread(command, args)
        with trusting(getattr(command, "trust", False)), Phases(console):
            _run(command)
        if rank() == 0:
            agent.finish()
    except UsageError as error:
        console.file.flush()
        _fail(2, f"error: {printable(str(error), keep='')}")
    except BrokenPipeError:  # `ppo … | head`: the reader has closed the pipe, and Python must not flush it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        agent.claim(1)
        sys.exit(1)
    except KeyboardInterrupt:
        _fail(130, "interrupted")
    except NonFiniteError as error:
        see = f"(see {address('howto/debug#a-number-is-not-finite')})"
        own = f" (rank {rank()})" if launched() else ""
        _fail(1, f"stopped{own}: {printable(str(error), keep='')} {see}")
    except RankLost as error:
        if agent.report_loss(str(error)):
            print_error(f"error: {error}")
        sys.exit(LOST_CODE)
    except Exception:  # a bug, or of the user's own code
        if not agent.claim(1):
            sys.exit(1)
        raise  # torch puts the rank's number before each line


def _fail(code: int, sentence: str) -> NoReturn:
    if agent.claim(code):
        print_error(sentence)
    sys.exit(code)


def _run(command: Any) -> None:
    try:
        command.run()
    except SystemExit as error:
        raise UsageError(
            f"the code of the environment or the policy called sys.exit({error.code!r}); raise an exception there instead"
        ) from error


def parse(args: list[str]) -> Any:
    """Return the command that the arguments describe.

    A command with settings is parsed up to three times, because its defaults depend on its arguments: the file named by
    --config, the network of the run named by --init-from, and the preset of the environment; or the run to resume.

    Raises:
        UsageError: there is no such command, or it does not take these arguments.
    """
    if args[:1] == ["--version"]:
        print(f"ppo {sys.modules['ppo'].__version__}")
        sys.exit()
    if args and not args[0].startswith("-") and args[0] not in COMMANDS:
        near = difflib.get_close_matches(args[0], COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"there is no command {args[0]!r}; {hint}")
    default = Config()
    without_help = [word for word in args if word not in ("-h", "--help")]
    if args[:1] == ["resume"] and args == without_help:
        check_changeable(Config, [word[2:].partition("=")[0].replace("-", "_") for word in args if word[:2] == "--"])
        default = config_of(_parse(args, default).run_dir)
    if args and COMMANDS.get(args[0]) in LEARNING:
        if COMMANDS[args[0]] in (Pretrain, Reward):  # mostly from texts
            default = default.replace({"env_id": "text/Write-v0"})
        command = _parse(without_help, default)
        toml = read_toml(command.config) if command.config else {}
        if toml:
            command = _parse(without_help, default.replace(toml, str(command.config)))
        settings = command.settings
        with trusting(command.trust):
            taken = inherited(settings.init_from, settings.policy) if settings.init_from else {}
        policy = taken.get("policy", settings.policy)
        default = preset(settings.env_id, settings.algorithm, policy).replace(
            taken | toml, str(command.config or settings.init_from)
        )
    return _parse(args, default)


def _parse(args: list[str], default: Config) -> Any:
    commands: list[Any] = []
    for name, command in COMMANDS.items():
        text = inspect.getdoc(command) or ""
        known: dict[str, Any] = {"description": text if args[:1] == [name] else text.partition("\n")[0]}
        if command in LEARNING:
            known["default"] = command(default)
        elif args[:1] == ["resume"] and command is Resume:
            known["default"] = Resume(tyro.MISSING, Changes(**vars(default)))
        commands.append(Annotated[command, subcommand(name, **known)])
    union: Any = functools.reduce(operator.or_, commands)
    with one_sentence(f"{args[0]} " if args and args[0] in COMMANDS else ""), wrapped():
        return tyro.cli(union, prog="ppo", description=WELCOME, args=args, registry=FLAGS)
