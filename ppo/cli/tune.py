"""The command that searches for better settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ppo.cli.flags import Trust, optional
from ppo.cli.terminal import console, print_lines
from ppo.cli.train import ConfigFile, Settings
from ppo.config.presets import preset_name
from ppo.errors import UsageError, extra
from ppo.numbers import count


@dataclass(frozen=True)
class Tune:
    """Search for better settings.

    Each trial trains with other settings, from --space; the first one with those of the preset and the flags. Settings as in `ppo train`; --total-timesteps is the budget of each run. The same command continues a study, also together with other processes. At the end the best settings are in best.toml, and are compared with the first on fresh seeds.
    """

    settings: Settings
    trials: int = 30
    """How many trials the study has in the end."""
    trial_seeds: int = 2
    """Runs of each trial, whose mean score counts. Their seeds are --seed + 100 and following."""
    fresh_seeds: int = 5
    """Runs of the comparison at the end, with the seeds --seed and following. 0: no comparison."""
    metric: str = "eval/episodic_return"
    """The scalar whose last value is a run's score; higher is better."""
    space: Annotated[Path | None, optional("FILE", "chosen by the environment")] = None
    """TOML file of the settings that vary: `gamma = [0.98, 0.99]` or `learning_rate = {low = 1e-5, high = 1e-2, log = true}`."""
    hours: float = 0.0
    """Begin no trial after this many hours. 0: no limit."""
    name: Annotated[str, optional("NAME", "the environment")] = ""
    """Name of the study; its folder is RUNS_DIR/tune/NAME."""
    storage: Annotated[str, optional("URL", "a SQLite file in the folder")] = ""
    """Optuna's database, for example postgresql://HOST/DB, which several machines can use."""
    config: ConfigFile = None
    """TOML file of settings by name, for example num_envs = 4."""
    trust: Trust = False

    def run(self) -> None:
        """Search, and print the trials and the result."""
        try:
            from ppo.tuning.outcome import conclude, trial_lines, write
            from ppo.tuning.space import kind_of, read_space
            from ppo.tuning.study import Study
        except ModuleNotFoundError as error:
            raise UsageError(f"ppo tune needs {error.name}: {extra('tune')}") from error
        for name, least in (("trials", 1), ("trial_seeds", 1), ("fresh_seeds", 0), ("hours", 0)):
            if not getattr(self, name) >= least:
                raise UsageError(f"{name} = {getattr(self, name)} is too small; choose at least {least}")
        if set(self.name) & set("/\\:") or self.name in (".", ".."):
            raise UsageError(f"name = {self.name!r} is the name of a folder; leave out slashes and colons")
        base, kind = self.settings, kind_of(self.settings, self.metric)
        origin = preset_name(base.env_id, base.algorithm)
        folder = base.runs_dir.absolute() / "tune" / (self.name or base.env_id.replace("/", "_"))
        folder.mkdir(parents=True, exist_ok=True)
        seeds = tuple(range(base.seed + 100, base.seed + 100 + self.trial_seeds))
        space = read_space(self.space, base, kind)
        tuned = Study(base, space, self.metric, seeds, folder, self.storage or f"sqlite:///{folder}/study.db")
        study = tuned.open()
        print_lines(console, [
            ("settings", f"preset {origin}; {', '.join(space)} vary"),
            ("study", f"{count(self.trials, 'trial')} of {count(len(seeds), 'run')} of {base.total_timesteps:,} steps"),
            ("folder", str(folder)),
        ])  # fmt: skip
        try:
            concludes = tuned.run(study, self.trials, self.hours, lambda line: console.print(line, markup=False))
            write(tuned, study)
            print_lines(console, trial_lines(tuned, study))
            if self.fresh_seeds and not concludes:
                print_lines(console, [("comparison", "made by the process that ended the last trial")])
            elif self.fresh_seeds:
                print_lines(console, conclude(tuned, study, range(base.seed, base.seed + self.fresh_seeds)))
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on with this study")
            raise
