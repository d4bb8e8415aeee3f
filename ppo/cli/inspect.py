"""Read-only commands: inspect a run, an environment, a data file, or published results."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ppo.cli.flags import Trust, optional
from ppo.cli.terminal import console, print_lines
from ppo.config import Algorithm, EnvKwargs
from ppo.config.words import default_hint
from ppo.errors import UsageError
from ppo.numbers import number
from ppo.run.files import shown


@dataclass(frozen=True)
class Data:
    """Download a set of rated texts, or summarise a file of your own: texts, ratings, agreement between raters."""

    name: Annotated[Positional[str], arg(metavar="[NAME]", help_behavior_hint=default_hint)] = ""
    """hutto-movies, hutto-amazon, hutto-nyt or hutto-tweets: about 15 ratings from -4 to +4 per text."""
    file: Annotated[Path | None, optional("FILE", "none")] = None
    """JSON lines of your own, with the keys text and (optional) ratings, or chosen and rejected."""

    def run(self) -> None:
        """Print a summary of the texts."""
        from ppo.cli.session import data

        if (self.file is None) == (not self.name):
            raise UsageError("give either the name of a set (for example hutto-movies) or --file FILE")
        data(self.name, self.file, console)


@dataclass(frozen=True)
class Sample:
    """Print sequences that a run's text policy writes, each with its return."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    n: Annotated[int, arg(aliases=["-n"])] = 10
    """Number of sequences."""
    prompt: Annotated[str | None, optional("TEXT", "the task's own prompts")] = None
    """Prompt of every sequence."""
    temperature: Annotated[float | None, optional("FLOAT", "the run's setting")] = None
    """Sampling temperature; divides the logits."""
    top_k: Annotated[int | None, optional("INT", "the run's setting")] = None
    """Sample only from the k most probable tokens. 0: from all."""
    top_p: Annotated[float | None, optional("FLOAT", "the run's setting")] = None
    """Sample only from the most probable tokens with this total probability."""
    deterministic: bool = False
    """Take the most probable token at each step."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    seed: int = 0
    """Seed of prompts and sampling."""
    trust: Trust = False

    def run(self) -> None:
        """Print the sequences and their mean return."""
        from ppo.sample import sample

        sampling = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        samples = sample(self.run_dir, self.n, self.prompt, self.checkpoint, self.seed, self.deterministic, **options)
        for completion, episode_return in samples:
            console.print(f"{number(episode_return):>8}  {completion}", markup=False)
        mean = sum(episode_return for _, episode_return in samples) / len(samples)
        console.print(f"{number(mean):>8}  mean return", markup=False)


@dataclass(frozen=True)
class Chat:
    """Chat with a run's dialogue policy: you take the environment's side. An empty line ends the dialogue."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    seed: int = 0
    """Seed of sampling."""
    trust: Trust = False

    def run(self) -> None:
        """Alternate turns with the policy, then print the dialogue."""
        from ppo.sample import chat

        def ask(turn: str) -> str | None:
            console.print(f"policy  {turn}", markup=False)
            try:
                return console.input("   you  ").strip() or None
            except EOFError:
                return None

        dialogue = chat(self.run_dir, ask, self.checkpoint, self.seed)
        if dialogue is not None:
            console.print(f"{dialogue}", markup=False)


@dataclass(frozen=True)
class Eval:
    """Play episodes with a run's policy and report their returns."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    episodes: int = 10
    """Number of episodes."""
    stochastic: bool = False
    """Sample actions instead of taking the mode."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    seed: int = 0
    """Seed of the environments and of action sampling."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Override keyword arguments of the environment; the value null removes one."""
    max_steps: int = 0
    """Steps after which an episode is cut. 0: the environment's time limit; without one, 27,000."""
    video: bool = False
    """Also film one episode into the run's videos/ (needs the video extra)."""
    trust: Trust = False

    def run(self) -> None:
        """Print the report of the episodes."""
        from ppo.evaluation import evaluate, film

        options: dict[str, Any] = {
            "deterministic": not self.stochastic,
            "checkpoint": self.checkpoint,
            "seed": self.seed,
        }
        report = evaluate(self.run_dir, self.episodes, env_kwargs=self.env_kwargs, max_steps=self.max_steps, **options)
        console.print(str(report), markup=False)
        if self.video:
            console.print(f"video: {shown(film(self.run_dir, env_kwargs=self.env_kwargs, **options))}", markup=False)


@dataclass(frozen=True)
class Export:
    """Export a run's policy to a standalone file, and check that it takes the same actions."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    format: Literal["torch-export", "onnx"] = "torch-export"
    """torch-export: for torch.export.load. onnx: for onnxruntime and others (needs the onnx extra)."""
    out: Annotated[Path | None, optional("FILE", "policy.pt2 or policy.onnx in the run folder")] = None
    """File to write."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Override keyword arguments of the environment in which the actions are compared; the value null removes one."""
    trust: Trust = False

    def run(self) -> None:
        """Write the file and print its inputs, its outputs and the result of the check."""
        from ppo.export import export

        exported = export(self.run_dir, self.format, self.out, self.checkpoint, self.env_kwargs)
        observations = f"{exported.observations} observations ({exported.where})"
        lines = [
            ("file", str(shown(exported.path))),
            ("inputs", "; ".join(exported.inputs)),
            ("outputs", "; ".join(exported.outputs)),
            ("acts", f"as the run's policy on {observations}, largest difference {exported.difference:.1g}"),
        ]
        print_lines(console, lines)


@dataclass(frozen=True)
class Check:
    """Check an environment before training: spaces, autoreset, episodes, numbers, determinism, speed, preset."""

    env_id: Annotated[Positional[str], arg(metavar="ENV_ID")]
    """Gymnasium id, or `package.module:EnvId-v0`."""
    num_envs: int = 4
    """Number of environments stepped together."""
    steps: int = 1000
    """Random steps in each environment."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Keyword arguments of the environment, as in `ppo train`."""
    algorithm: Algorithm = "ppo"
    """Algorithm of the preset to report."""
    policy: str = "auto"
    """Policy of the preset to report, as in `ppo train`."""

    def run(self) -> None:
        """Print the findings."""
        from ppo.check import check

        preset = {"algorithm": self.algorithm, "policy": self.policy}
        print_lines(console, list(check(self.env_id, self.num_envs, self.steps, self.env_kwargs, **preset)))


@dataclass(frozen=True)
class Envs:
    """List the environment families that are installed, with their presets, and how to install the others."""

    def run(self) -> None:
        """Print a line per family and preset."""
        from ppo.check import list_families

        for line in list_families():
            console.print(line, markup=False)


@dataclass(frozen=True)
class Compare:
    """Compare runs with published figures: tables, a verdict with a confidence interval, curves, an HTML page."""

    runs: Annotated[Positional[tuple[Path, ...]], optional("RUN ...", "none")] = ()
    """Run folders (of ppo, or with TensorBoard event files), folders that contain them, or CSV files of curves."""
    against: Annotated[tuple[str, ...], optional("SOURCE ...", "all sources of `ppo compare --list`")] = ()
    """Names of published sources, or CSV files of figures."""
    list: bool = False
    """List the published sources, or with --env-id the figures of one environment."""
    env_id: str = ""
    """Environment of runs that do not name theirs."""
    algorithm: str = ""
    """Algorithm of runs that do not name theirs."""
    centre: Literal["iqm", "mean"] = "iqm"
    """Centre of the plotted curves: interquartile mean, or mean."""
    out: Annotated[Path | None, arg(metavar="FOLDER")] = Path("runs/compare")
    """Folder for the pictures and the page. None: only print."""

    def run(self) -> None:
        """Print the comparison and write the pictures and the page."""
        try:
            from ppo.compare import command
        except ModuleNotFoundError as error:
            raise UsageError(f"ppo compare needs {error.name}: pip install scipy matplotlib") from error
        if self.list:
            command.list_figures(console, self.env_id)
            return
        if not self.runs:
            raise UsageError(
                "there are no runs to compare; name run folders, or use --list to see the published figures"
            )
        result = command.compare_runs(list(self.runs), self.against, self.env_id, self.algorithm)
        page = (
            None if self.out is None else command.write(result, self.out, self.centre)
        )  # a refusal comes before tables
        command.show(result, console)
        if page is not None:
            console.print(f"   page  {page}", markup=False)
