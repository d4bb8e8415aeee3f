"""The command line: train, resume, eval, check, envs, compare; a dataclass each, which tyro turns into flags."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg, subcommand

from ppo.config import Algorithm, Config, EnvKwarg, read_toml
from ppo.errors import NonFiniteError, UsageError
from ppo.presets import preset

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Train:
    """Train a policy. Settings come from the preset, then from --config, then from the flags."""

    settings: OmitArgPrefixes[Config]
    config: Path | None = None
    """TOML file with settings by name."""

    def run(self) -> None:
        from ppo.session import train
        from ppo.trainer import Trainer

        trainer = Trainer(self.settings)
        name = preset(self.settings.env_id, self.settings.algorithm, self.settings.policy)[0]
        train(trainer, f"preset {name}", console)


@dataclass(frozen=True)
class Resume:
    """Go on with a run where its latest checkpoint stands, bit for bit."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    total_timesteps: int | None = None
    """A new budget; unset: the run's own."""

    def run(self) -> None:
        from ppo.session import train
        from ppo.trainer import Trainer

        changed = {} if self.total_timesteps is None else {"total_timesteps": self.total_timesteps}
        trainer = Trainer.resume(self.run_dir, changed)
        if trainer.finished:
            raise UsageError(
                f"{self.run_dir} has spent its budget of {trainer.config.total_timesteps:,} steps; "
                "give a larger --total-timesteps to go on"
            )
        train(trainer, f"resumed at step {trainer.global_step:,}", console)


@dataclass(frozen=True)
class Eval:
    """Play episodes with a run's policy and report the returns."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    episodes: int = 10
    """Episodes to play."""
    stochastic: bool = False
    """Sample actions instead of taking the most probable one."""
    checkpoint: str = "latest"
    """latest, best (by evaluation while training), or iteration_000123 where they are kept."""
    seed: int = 0
    """Seed of the environments and of sampling."""
    video: bool = False
    """Film one more episode into the run's videos/ (needs the video extra)."""

    def run(self) -> None:
        from ppo.evaluate import evaluate, film

        report = evaluate(self.run_dir, self.episodes, not self.stochastic, self.checkpoint, self.seed)
        console.print(str(report), markup=False)
        if self.video:
            console.print(f"video: {film(self.run_dir, self.checkpoint, not self.stochastic, self.seed)}", markup=False)


@dataclass(frozen=True)
class Check:
    """Try an environment: spaces, autoreset, truncation, numbers, determinism, speed, and what would be trained."""

    env_id: Annotated[Positional[str], arg(metavar="ENV_ID")]
    """Gymnasium id, or `package.module:EnvId-v0`."""
    num_envs: int = 4
    """Environments stepped together."""
    steps: int = 1000
    """Random steps of each environment."""
    env_kwargs: Annotated[dict[str, EnvKwarg], arg(metavar="KEY VALUE ...")] = field(default_factory=dict)
    """Keyword arguments of the environment, as in `ppo train`."""
    algorithm: Algorithm = "ppo"
    """Algorithm whose preset would train it."""
    policy: str = "auto"
    """Policy that would be trained, as in `ppo train`."""

    def run(self) -> None:
        from ppo.check import check

        preset = {"algorithm": self.algorithm, "policy": self.policy}
        for name, finding in check(self.env_id, self.num_envs, self.steps, self.env_kwargs, **preset):
            console.print(f"{name:>13}  {finding}", markup=False)


@dataclass(frozen=True)
class Envs:
    """List environment families: what is installed, with its presets, and how to install the rest."""

    def run(self) -> None:
        from ppo.check import list_families

        for line in list_families():
            console.print(line, markup=False)


@dataclass(frozen=True)
class Compare:
    """Put runs beside published figures: tables, a verdict with its interval, learning curves, an HTML page."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN ...")] = ()
    """Run folders, ours or with TensorBoard events, folders of such, or CSV files of curves."""
    against: Annotated[tuple[str, ...], arg(metavar="SOURCE ...")] = ()
    """Sources by name, or CSV files of figures; unset: all that are known."""
    list: bool = False
    """List the published figures: the sources, or with --env-id those of one environment."""
    env_id: str = ""
    """Environment of runs that do not say theirs."""
    algorithm: str = ""
    """Algorithm of runs that do not say theirs."""
    centre: Literal["iqm", "mean"] = "iqm"
    """Middle of the curves: interquartile mean, or mean."""
    out: Path | None = Path("runs/compare")
    """Folder for pictures and page; None: print only."""

    def run(self) -> None:
        try:
            from ppo.compare import command
        except ModuleNotFoundError as error:
            raise UsageError(f"ppo compare needs {error.name}: pip install scipy matplotlib") from error
        if self.list:
            command.list_figures(console, self.env_id)
            return
        if not self.runs:
            raise UsageError("which runs? give run folders, or --list for what is published")
        result = command.compare_runs(list(self.runs), self.against, self.env_id, self.algorithm)
        command.show(result, console)
        if self.out is not None:
            console.print(f"   page  {command.write(result, self.out, self.centre)}", markup=False)


Command = Train | Resume | Eval | Check | Envs | Compare
COMMANDS = {"train": Train, "resume": Resume, "eval": Eval, "check": Check, "envs": Envs, "compare": Compare}


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
    """Parse arguments; `train` is parsed until the preset that its environment asks for is among the defaults."""
    default = Config()
    if args[:1] == ["train"]:
        plain = [a for a in args if a not in ("-h", "--help")]
        asked = _parse(plain, default)
        assert isinstance(asked, Train)
        toml = read_toml(asked.config) if asked.config else {}
        if toml:
            asked = _parse(plain, default.replace(toml, str(asked.config)))
            assert isinstance(asked, Train)
        chosen = asked.settings
        default = preset(chosen.env_id, chosen.algorithm, chosen.policy)[1].replace(toml, str(asked.config))
    return _parse(args, default)


def _parse(args: list[str], default: Config) -> Command:
    train = subcommand("train", default=Train(default), description=Train.__doc__)
    union: Any = Annotated[Train, train]
    for name, command in list(COMMANDS.items())[1:]:
        union = union | Annotated[command, subcommand(name)]
    return tyro.cli(union, prog="ppo", description=sys.modules["ppo"].__doc__, args=args)
