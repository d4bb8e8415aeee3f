"""The commands that make a run, or go on with one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from ppo.cli.terminal import console
from ppo.config import Config
from ppo.config.presets import preset
from ppo.errors import UsageError


@dataclass(frozen=True)
class Train:
    """Train a policy. Settings come from the preset, then from --config, then from the flags."""

    settings: OmitArgPrefixes[Config]
    config: Path | None = None
    """TOML file with settings by name."""

    def run(self) -> None:
        from ppo.cli.session import train
        from ppo.loop.trainer import Trainer

        trainer = Trainer(self.settings)
        name = preset(self.settings.env_id, self.settings.algorithm, self.settings.policy)[0]
        train(trainer, f"preset {name}", console)


@dataclass(frozen=True)
class Pretrain:
    """Teach a policy of tokens by maximum likelihood, for --init-from and --reference.

    Settings as in `ppo train`; those about rewards, PPO's loss, checkpoints and compiling mean nothing here.
    """

    settings: OmitArgPrefixes[Config]
    corpus: str = ""
    """Text file, one sequence a line; empty: the task's own demonstrations."""
    patience: int = 5
    """Evaluations on held-out text without a better perplexity after which it stops, and keeps the best; 0: go on to the
    end, and keep the last."""
    config: Path | None = None
    """TOML file with settings by name."""

    def run(self) -> None:
        from ppo.cli.session import pretrain
        from ppo.loop.trainer import Trainer

        name = self.settings.exp_name or "pretrain"
        pretrain(Trainer(self.settings.replace({"exp_name": name})), self.corpus, self.patience, console)


@dataclass(frozen=True)
class Reward:
    """Teach a policy of tokens to score texts as people rated them, for text/Write-v0.

    Settings as in `ppo train`; those about rewards, PPO's loss, checkpoints and compiling mean nothing here.
    """

    settings: OmitArgPrefixes[Config]
    ratings: str = "hutto-movies"
    """Rated texts or preferences: JSON lines, or a set that `ppo data` fetched."""
    raters: Literal["all", "even", "odd"] = "all"
    """Whose ratings count, by their place in the list of a text; the figures are of everybody's."""
    patience: int = 5
    """Evaluations on held-out texts without a smaller loss after which it stops, and keeps the best; 0: go on to the end,
    and keep the last."""
    config: Path | None = None
    """TOML file with settings by name."""

    def run(self) -> None:
        from ppo.cli.session import reward
        from ppo.loop.trainer import Trainer

        name = self.settings.exp_name or "reward"
        reward(Trainer(self.settings.replace({"exp_name": name})), self.ratings, self.raters, self.patience, console)


@dataclass(frozen=True)
class Resume:
    """Go on with a run where its latest checkpoint stands, bit for bit."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    total_timesteps: int | None = None
    """A new budget; unset: the run's own."""
    reference: str | None = None
    """Folder of the reference, where it has moved."""

    def run(self) -> None:
        from ppo.cli.session import train
        from ppo.loop.trainer import Trainer

        given = {"total_timesteps": self.total_timesteps, "reference": self.reference}
        changed = {name: value for name, value in given.items() if value is not None}
        trainer = Trainer.resume(self.run_dir, changed)
        if trainer.finished:
            raise UsageError(
                f"{self.run_dir} stands at step {trainer.global_step:,}, and another rollout could exceed its budget of "
                f"{trainer.config.total_timesteps:,} steps; give a larger --total-timesteps to go on"
            )
        train(trainer, f"resumed at step {trainer.global_step:,}", console)
