"""The command line: arguments become a command, and what the user can mend becomes one sentence."""

import functools
import inspect
import operator
import os
import sys
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from ppo.cli.commands import COMMANDS, Command, Pretrain, Reward, Train
from ppo.cli.terminal import console
from ppo.config import Config
from ppo.config.presets import preset
from ppo.config.values import read_toml
from ppo.errors import NonFiniteError, UsageError
from ppo.run.load import architecture

LEARNING = (Train, Pretrain, Reward)  # have settings, whose defaults are the environment's preset


def main(args: list[str] | None = None) -> None:
    """Run a command; exit with 2 and one sentence where the user can mend it."""
    args = sys.argv[1:] if args is None else args
    sys.path.insert(0, "")  # an environment or policy of the user's own lies in the folder they stand in
    try:
        parse(args).run()
    except UsageError as error:
        console.file.flush()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `ppo … | head`: nobody reads on, and the interpreter must not try to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except NonFiniteError as error:
        print(f"stopped: {error}", file=sys.stderr)
        sys.exit(1)


def parse(args: list[str]) -> Command:
    """Parse arguments; what has settings is parsed until the preset of its environment is among the defaults."""
    default = Config()
    if args and COMMANDS.get(args[0]) in LEARNING:
        plain = [a for a in args if a not in ("-h", "--help")]
        asked = _parse(plain, default)
        assert isinstance(asked, LEARNING)
        toml = read_toml(asked.config) if asked.config else {}
        if toml:
            asked = _parse(plain, default.replace(toml, str(asked.config)))
            assert isinstance(asked, LEARNING)
        chosen = asked.settings
        network = architecture(chosen.init_from) if chosen.init_from else {}
        policy = network.get("policy", chosen.policy)
        default = preset(chosen.env_id, chosen.algorithm, policy)[1].replace(network | toml, str(asked.config))
    return _parse(args, default)


def _parse(args: list[str], default: Config) -> Command:
    choices: list[Any] = []
    for name, command in COMMANDS.items():
        known: dict[str, Any] = (
            {"default": command(default), "description": inspect.getdoc(command)} if command in LEARNING else {}
        )
        choices.append(Annotated[command, subcommand(name, **known)])
    union: Any = functools.reduce(operator.or_, choices)
    return tyro.cli(union, prog="ppo", description=sys.modules["ppo"].__doc__, args=args)
