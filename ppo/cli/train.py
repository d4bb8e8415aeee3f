"""The commands that make a run or continue one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from ppo.cli.flags import Changes, Trust, optional
from ppo.cli.processes import MAX_RESTARTS, Processes, Restarts
from ppo.cli.terminal import console
from ppo.config import Config
from ppo.config.presets import preset_name
from ppo.config.setting import changeable
from ppo.errors import UsageError
from ppo.machine import agent
from ppo.run.load import config_of

Settings = Annotated[OmitArgPrefixes[Config], arg(name="")]
ConfigFile = Annotated[Path | None, optional("FILE", "none")]


@dataclass(frozen=True)
class Train:
    """Train a policy.

    Settings come from the environment's preset, then from --config, then from the flags.
    """

    settings: Settings
    config: ConfigFile = None
    """TOML file of settings by name, for example num_envs = 4."""
    processes: Processes = 1
    max_restarts: Restarts = MAX_RESTARTS
    trust: Trust = False

    def run(self) -> None:
        """Train with a progress bar."""
        from ppo.cli.session import go_on, train
        from ppo.loop.trainer import Trainer

        trainer = go_on(self.settings) or Trainer(self.settings)
        train(trainer, f"preset {preset_name(self.settings.env_id, self.settings.algorithm)}", console)


@dataclass(frozen=True)
class Pretrain:
    """Pretrain a policy on demonstrations or on text.

    By maximum likelihood; the result is for --init-from and --reference. Settings as in `ppo train`. Those of PPO's loss, checkpoints and compiling have no effect.
    """

    settings: Settings
    demonstrations: Annotated[str, optional("PATH", "none")] = ""
    """Recorded episodes of the environment: a file of `ppo record`, an NPZ or CSV file of your own, or minari:ID, a Minari data set on this machine. A tenth of the episodes is held out."""
    corpus: Annotated[str, optional("FILE", "the task's own demonstrations")] = ""
    """Of a text task: text file with one sequence per line."""
    patience: int = 5
    """Stop after this many evaluations without a lower held-out loss and keep the best. 0: keep the last."""
    config: ConfigFile = None
    """TOML file of settings by name, for example num_envs = 4."""
    processes: Processes = 1
    trust: Trust = False

    def run(self) -> None:
        """Pretrain with a progress bar."""
        from ppo.cli.session import pretrain
        from ppo.loop.trainer import Trainer

        name = self.settings.exp_name or "pretrain"
        trainer = Trainer(self.settings.replace({"exp_name": name}))
        pretrain(trainer, self.corpus, self.demonstrations, self.patience, console)


@dataclass(frozen=True)
class Reward:
    """Train a reward model from people's ratings of texts.

    The result is for text/Write-v0. Settings as in `ppo train`. Those of rewards, PPO's loss, checkpoints and compiling have no effect.
    """

    settings: Settings
    ratings: str = "hutto-movies"
    """Rated texts or preferences: a file of JSON lines, or a set that `ppo data` downloaded. text/Write-v0 takes its vocabulary from them, unless --env-kwargs names a corpus."""
    raters: Literal["all", "even", "odd"] = "all"
    """Raters to train on: all, or those at even or odd positions in a text's list. The evaluation uses all."""
    patience: int = 5
    """Stop after this many evaluations without a lower held-out loss and keep the best. 0: keep the last."""
    config: ConfigFile = None
    """TOML file of settings by name, for example num_envs = 4."""
    trust: Trust = False

    def run(self) -> None:
        """Train the reward model with a progress bar."""
        from ppo.cli.session import reward
        from ppo.loop.trainer import Trainer

        changes: dict[str, Any] = {"exp_name": self.settings.exp_name or "reward"}
        if self.settings.env_id == "text/Write-v0":
            changes["env_kwargs"] = {"corpus": self.ratings} | self.settings.env_kwargs
        reward(Trainer(self.settings.replace(changes)), self.ratings, self.raters, self.patience, console)


@dataclass(frozen=True)
class Resume:
    """Continue a run from its latest checkpoint.

    It goes on bit for bit as if it had not stopped, unless a setting changes. --env-kwargs overrides single arguments of the environment; the value null removes one.
    """

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    settings: Annotated[OmitArgPrefixes[Changes], arg(name="")] = field(default_factory=Changes)
    processes: Processes = 1
    max_restarts: Restarts = MAX_RESTARTS
    trust: Trust = False

    def run(self) -> None:
        """Train with a progress bar."""
        from ppo.cli.session import train
        from ppo.loop.trainer import Trainer

        old, new = config_of(self.run_dir).to_json(), self.settings.to_json()
        changes = {name: new[name] for name in changeable(Config) if new[name] != old[name]}
        trainer = Trainer.resume(self.run_dir, changes)
        # A rank may be killed after the last checkpoint.
        if trainer.reached and not agent.noted(agent.notes(), agent.FOLDER):
            raise UsageError(
                f"{self.run_dir} is finished at step {trainer.global_step}, since {trainer.reached}; to go on, choose another "
                "--stop-at, or none: --stop-at ''"
            )
        if trainer.finished and not agent.noted(agent.notes(), agent.FOLDER):
            raise UsageError(
                f"{self.run_dir} is at step {trainer.global_step}, so total_timesteps = {trainer.config.total_timesteps} "
                f"has no room for another rollout of {trainer.config.batch_size} steps; choose --total-timesteps "
                f"{trainer.global_step + trainer.config.batch_size} or more"
            )
        told = [f"{name} {value!r} instead of {old[name]!r}" for name, value in changes.items()]
        train(trainer, "; ".join([f"resumed at step {trainer.global_step:,}", *told]), console)
