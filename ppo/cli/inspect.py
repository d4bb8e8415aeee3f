"""The commands that look: at a run, an environment, a file, at what others published."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ppo.cli.terminal import console
from ppo.config import Algorithm, EnvKwarg
from ppo.errors import UsageError


@dataclass(frozen=True)
class Data:
    """Fetch a set of rated texts, once, or look at a file of one's own: texts, ratings, how far raters agree."""

    name: Annotated[Positional[str], arg(metavar="NAME")] = ""
    """hutto-movies, hutto-amazon, hutto-nyt or hutto-tweets: about 15 ratings from -4 to +4 of each text."""
    file: Path | None = None
    """JSON lines of your own: text, with ratings where there are any; or chosen and rejected."""

    def run(self) -> None:
        from ppo.cli.session import data

        if (self.file is None) == (not self.name):
            raise UsageError("which texts? give a name (hutto-movies, for example), or a file by --file")
        data(self.name, self.file, console)


@dataclass(frozen=True)
class Sample:
    """Write sequences with a run's policy of tokens, and show what they are worth."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    n: Annotated[int, arg(aliases=["-n"])] = 10
    """Sequences to write."""
    prompt: str | None = None
    """What each begins with; unset: the task's own prompts."""
    temperature: float | None = None
    """Divides the logits; unset: as in the run. So are the next two."""
    top_k: int | None = None
    """Sample only among the k most probable tokens; 0: among all."""
    top_p: float | None = None
    """Sample only among the most probable tokens that together have this probability; 1: among all."""
    deterministic: bool = False
    """Take the most probable token each time."""
    checkpoint: str = "latest"
    """latest, best (by evaluation while training), or iteration_000123 where they are kept."""
    seed: int = 0
    """Seed of prompts and sampling."""

    def run(self) -> None:
        from ppo.sample import sample

        given = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        options = {name: value for name, value in given.items() if value is not None}
        found = sample(self.run_dir, self.n, self.prompt, self.checkpoint, self.seed, self.deterministic, **options)
        for completion, value in found:
            console.print(f"{value:8.3f}  {completion}", markup=False)
        console.print(f"{sum(value for _, value in found) / len(found):8.3f}  mean return", markup=False)


@dataclass(frozen=True)
class Chat:
    """Take the environment's side of a dialogue with a policy of tokens; an empty line ends it."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    checkpoint: str = "latest"
    """latest, best (by evaluation while training), or iteration_000123 where they are kept."""
    seed: int = 0
    """Seed of sampling."""

    def run(self) -> None:
        from ppo.sample import chat

        def ask(shown: str) -> str | None:
            console.print(f"policy  {shown}", markup=False)
            try:
                return console.input("   you  ").strip() or None
            except EOFError:
                return None

        said = chat(self.run_dir, ask, self.checkpoint, self.seed)
        if said is not None:
            console.print(f"{said}", markup=False)


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
    env_kwargs: Annotated[dict[str, EnvKwarg], arg(metavar="KEY VALUE ...")] = field(default_factory=dict)
    """Keyword arguments of the environment that are to be others than in the run."""
    video: bool = False
    """Film one more episode into the run's videos/ (needs the video extra)."""

    def run(self) -> None:
        from ppo.evaluate import evaluate, film

        how: dict[str, Any] = {"deterministic": not self.stochastic, "checkpoint": self.checkpoint, "seed": self.seed}
        report = evaluate(self.run_dir, self.episodes, env_kwargs=self.env_kwargs, **how)
        console.print(str(report), markup=False)
        if self.video:
            console.print(f"video: {film(self.run_dir, env_kwargs=self.env_kwargs, **how)}", markup=False)


@dataclass(frozen=True)
class Export:
    """Write a run's policy as a file that needs no ppo, and try that it acts alike."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Folder of the run."""
    format: Literal["torch-export", "onnx"] = "torch-export"
    """torch-export: for torch.export.load; onnx: for onnxruntime and others (needs the onnx extra)."""
    out: Path | None = None
    """The file; unset: policy.pt2 or policy.onnx in the run's folder."""
    checkpoint: str = "latest"
    """latest, best (by evaluation while training), or iteration_000123 where they are kept."""

    def run(self) -> None:
        from ppo.cli.terminal import print_lines
        from ppo.export import export

        found = export(self.run_dir, self.format, self.out, self.checkpoint)
        alike = f"as the run's policy on {found.observations} observations ({found.where})"
        lines = [
            ("file", str(found.path)),
            ("inputs", "; ".join(found.inputs)),
            ("outputs", "; ".join(found.outputs)),
            ("acts", f"{alike}, within {found.difference:.1g}"),
        ]
        print_lines(console, lines)


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
        from ppo.cli.terminal import print_lines

        preset = {"algorithm": self.algorithm, "policy": self.policy}
        print_lines(console, list(check(self.env_id, self.num_envs, self.steps, self.env_kwargs, **preset)))


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
