"""The command line: train, resume, eval, check, envs; a dataclass each, which tyro turns into flags."""

import contextlib
import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg, subcommand

from ppo.config import Algorithm, Config, EnvKwarg, read_toml
from ppo.envs import autoreset_mode
from ppo.envs.spaces import one_line
from ppo.errors import NonFiniteError, UsageError
from ppo.presets import preset

if TYPE_CHECKING:
    from ppo.trainer import Trainer

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Train:
    """Train a policy. Settings come from the preset, then from --config, then from the flags."""

    settings: OmitArgPrefixes[Config]
    config: Path | None = None
    """TOML file with settings by name."""

    def run(self) -> None:
        from ppo.trainer import Trainer

        trainer = Trainer(self.settings)
        name = preset(self.settings.env_id, self.settings.algorithm, self.settings.policy)[0]
        _train(trainer, f"preset {name}")


@dataclass(frozen=True)
class Resume:
    """Go on with a run where its latest checkpoint stands, bit for bit."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    total_timesteps: int | None = None
    """A new budget; unset: the run's own."""

    def run(self) -> None:
        from ppo.trainer import Trainer

        changed = {} if self.total_timesteps is None else {"total_timesteps": self.total_timesteps}
        trainer = Trainer.resume(self.run_dir, changed)
        if trainer.finished:
            raise UsageError(
                f"{self.run_dir} has spent its budget of {trainer.config.total_timesteps:,} steps; "
                "give a larger --total-timesteps to go on"
            )
        _train(trainer, f"resumed at step {trainer.global_step:,}")


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


def _train(trainer: "Trainer", origin: str) -> None:
    """Print what was resolved, train with a progress bar, and print what came of it and what to do next."""
    from ppo.terminal import Reporter, time_split

    for name, value in [("settings", origin), *describe(trainer)]:
        console.print(f"{name:>13}  {value}", markup=False)
    with contextlib.closing(trainer.envs), Reporter(console, trainer.global_step) as reporter:
        run_dir = trainer.train(reporter)
    folder = shlex.quote(str(run_dir))
    if not trainer.finished:
        console.print(
            f"stopped at step {trainer.global_step:,}; go on with: {_command('ppo')} resume {folder}", markup=False
        )
        return
    if trainer.config.eval_episodes:
        console.print(
            f"   evaluation  return {trainer.last_evaluation:.1f} over {trainer.config.eval_episodes} deterministic "
            f"episodes (best of the run {trainer.best_return:.1f})"
        )
    split = time_split(trainer.seconds, trainer.compiled, trainer.config.vectorization)
    console.print(f"         time  {split}", markup=False)
    console.print(f"   run folder  {run_dir}", markup=False)
    console.print(f"  evaluate it  {_command('ppo')} eval {folder}", markup=False)
    console.print(
        f"       curves  {_command('tensorboard')} --logdir {shlex.quote(str(trainer.config.runs_dir))}", markup=False
    )


def describe(trainer: "Trainer") -> list[tuple[str, str]]:
    """Return (name, text) pairs that say what was resolved."""
    config, envs, length = trainer.config, trainer.envs, trainer.learner.seq_len
    parameters = sum(p.numel() for p in trainer.policy.parameters())
    sequences = config.batch_size // length // config.num_minibatches
    made = f"{envs.num_envs} x {type(envs.unwrapped).__name__}, autoreset {autoreset_mode(envs).value}"
    lines = [
        ("environment", f"{config.env_id}: {made}"),
        ("observation", one_line(envs.single_observation_space)),
        ("action", one_line(envs.single_action_space)),
        ("policy", f"{trainer.policy_name}, {parameters:,} parameters"),
        ("device", f"{trainer.device}: {trainer.why_device}"),
        ("threads", f"{trainer.threads}: {trainer.why_threads}"),
        ("compile", f"{'on' if trainer.compiled else 'off'}: {trainer.why_compiled}"),
        ("rollout", f"T {config.num_steps} x N {config.num_envs} = {config.batch_size:,} steps"),
        ("update", f"{config.update_epochs} epochs x {config.num_minibatches} minibatches of B {sequences} x L {length}, "
                   f"{config.optimizer}"),
        ("budget", f"{config.total_timesteps:,} steps, a checkpoint every {trainer.checkpoint_every} iterations"),
    ]  # fmt: skip
    segment = trainer.checkpoint_every * config.num_steps
    if segment < trainer.time_limit:
        cut = f"a checkpoint every {segment} steps of an environment cuts episodes, which may take {trainer.time_limit}"
        lines.append(("note", f"{cut}; raise --checkpoint-every"))
    return lines


def _command(name: str) -> str:
    """Return how to call an installed command from here: by its name, or by its path where the PATH does not find it."""
    beside = Path(sys.executable).with_name(name)
    return name if shutil.which(name) or not beside.exists() else os.path.relpath(beside)


COMMANDS = {"train": Train, "resume": Resume, "eval": Eval, "check": Check, "envs": Envs}


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


def parse(args: list[str]) -> Train | Resume | Eval | Check | Envs:
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


def _parse(args: list[str], default: Config) -> Train | Resume | Eval | Check | Envs:
    train = subcommand("train", default=Train(default), description=Train.__doc__)
    union: Any = Annotated[Train, train]
    for name, command in list(COMMANDS.items())[1:]:
        union = union | Annotated[command, subcommand(name)]
    return tyro.cli(union, prog="ppo", description=sys.modules["ppo"].__doc__, args=args)
