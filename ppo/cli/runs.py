"""The commands on a run: evaluate it, export its policy, read what it writes, chat with it."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ppo.cli.flags import Trust, optional
from ppo.cli.terminal import command_of, console, print_lines
from ppo.config import EnvKwargs
from ppo.config.words import environment_words, override
from ppo.errors import UsageError, printable
from ppo.numbers import number
from ppo.run.files import shown
from ppo.run.load import config_of

Actions = Literal["run", "sampled", "deterministic"]


def choice(actions: Actions) -> bool | None:
    """Return what `evaluate` takes: whether actions are deterministic; None for the run's own choice."""
    return None if actions == "run" else actions == "deterministic"


@dataclass(frozen=True)
class Eval:
    """Play episodes with a run's policy and report the returns."""

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    episodes: int = 10
    """Number of episodes."""
    actions: Actions = "run"
    """How to choose actions: sampled, deterministic (the mode), or as in the run's own evaluations (--eval-sampled)."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    seed: int = 0
    """Seed of the environments and of action sampling."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Override keyword arguments of the environment, those of the run's own evaluations; the value null removes one."""
    max_steps: int = 0
    """Steps after which an episode is cut. 0: the environment's time limit; without one, 27,000."""
    video: bool = False
    """Also film one episode into the run's videos/ (needs the video extra)."""
    trust: Trust = False

    def run(self) -> None:
        """Print the report of the episodes."""
        from ppo.evaluation import evaluate, film

        options: dict[str, Any] = {
            "deterministic": choice(self.actions),
            "checkpoint": self.checkpoint,
            "seed": self.seed,
        }
        options |= {"env_kwargs": self.env_kwargs, "max_steps": self.max_steps}
        video = film(self.run_dir, **options) if self.video else None  # first, since more can be missing
        console.print(str(evaluate(self.run_dir, self.episodes, **options)), markup=False)
        if video is not None:
            console.print(f"video: {shown(video)}", markup=False)


@dataclass(frozen=True)
class Record:
    """Record episodes that a run's policy plays, as demonstrations.

    The file is for `ppo pretrain --demonstrations`; docs/howto/demonstrations.md describes it.
    """

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    out: Path = Path("demonstrations.npz")
    """File to write."""
    episodes: int = 50
    """Number of episodes."""
    actions: Actions = "run"
    """How to choose actions: sampled, deterministic (the mode), or as in the run's own evaluations (--eval-sampled). PPO goes on better from sampled ones, which keep its exploration."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    seed: int = 0
    """Seed of the environments and of action sampling."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Override keyword arguments of the environment, those of the run's own evaluations; the value null removes one."""
    max_steps: int = 0
    """Steps after which an episode is cut, as by a time limit. 0: the environment's time limit; without one, 27,000."""
    trust: Trust = False

    def run(self) -> None:
        """Write the file and print the report of the episodes."""
        from ppo.recording import record

        options: dict[str, Any] = {"checkpoint": self.checkpoint, "seed": self.seed, "env_kwargs": self.env_kwargs}
        options |= {"max_steps": self.max_steps, "deterministic": choice(self.actions)}
        report = record(self.run_dir, self.out, self.episodes, **options)
        console.print(str(report), markup=False)
        config = config_of(self.run_dir)
        kwargs = override(config.env_kwargs, config.eval_env_kwargs, self.env_kwargs)
        policy = ["--policy", config.policy] if config.policy != "auto" else []
        learn = [*environment_words(config, kwargs), *policy, "--demonstrations", str(self.out)]
        command = f"{command_of('ppo')} pretrain {shlex.join(learn)}"
        print_lines(console, [("file", str(self.out)), ("learn from it", command)], wrap=False)


@dataclass(frozen=True)
class Export:
    """Export a run's policy to a standalone file.

    The file is checked to take the same actions.
    """

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    format: Literal["torch-export", "onnx"] = "torch-export"
    """torch-export: for torch.export.load. onnx: for onnxruntime and others (needs the onnx extra)."""
    quantize: Literal["none", "int8"] = "none"
    """int8: hold matrices as int8 with a scale for each row. The file is smaller, not faster, and its actions may differ."""
    out: Annotated[Path | None, optional("FILE", "policy.pt2 or policy.onnx in the run folder")] = None
    """File to write."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Override keyword arguments of the environment in which the actions are compared; the value null removes one."""
    trust: Trust = False

    def run(self) -> None:
        """Write the file and print its inputs, its outputs and the result of the check."""
        from ppo.exporting import export

        exported = export(self.run_dir, self.format, self.out, self.checkpoint, self.env_kwargs, quantize=self.quantize)
        observations = f"{exported.observations} observations ({exported.where})"
        acts = f"as the run's policy on {observations}, largest difference {exported.difference:.1g}"
        if exported.agreement < 1 and exported.difference:  # numbers, all of which int8 changes a little
            acts = f"nearly as the run's policy on {observations}, largest difference {exported.difference:.1g}"
        elif exported.agreement < 1:
            acts = f"as the run's policy on {100 * exported.agreement:.1f} % of {observations}"
        lines = [
            ("file", f"{shown(exported.path)}, {exported.size:,} bytes"),
            ("inputs", "; ".join(exported.inputs)),
            ("outputs", "; ".join(exported.outputs)),
            ("acts", acts),
        ]
        print_lines(console, lines)


@dataclass(frozen=True)
class Sample:
    """Print sequences that a run's text policy writes.

    Each comes with its return.
    """

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    n: Annotated[int, arg(aliases=["-n"])] = 10
    """Number of sequences."""
    prompt: Annotated[str | None, optional("TEXT", "the task's own prompts")] = None
    """Prompt of every sequence. The return is that of what follows it."""
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
    best: bool = False
    """Print the best distinct sequences of the whole training instead of new ones."""
    trust: Trust = False

    def run(self) -> None:
        """Print the sequences and their mean return."""
        from ppo.sampling import sample

        if self.best:
            self._print_best()
            return
        sampling = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        samples = sample(self.run_dir, self.n, self.prompt, self.checkpoint, self.seed, self.deterministic, **options)
        for completion, episode_return in samples:
            console.print(f"{number(episode_return):>8}  {completion}", markup=False)
        mean = sum(episode_return for _, episode_return in samples) / len(samples)
        console.print(f"{number(mean):>8}  mean return", markup=False)

    def _print_best(self) -> None:
        from ppo.loop.best import as_text
        from ppo.sampling import best

        needless = [name for name, value in vars(self).items() if name not in ("run_dir", "n", "best", "trust")
                    and value != getattr(type(self), name)]  # fmt: skip
        if needless:
            raise UsageError(f"{needless[0]} has no effect with --best, which samples nothing; leave it out")
        for line in best(self.run_dir, self.n):
            text = f"{number(line['return']):>8}  {printable(as_text(line))}  (step {line['step']:,})"
            console.print(text, markup=False)


@dataclass(frozen=True)
class Chat:
    """Chat with a run's dialogue policy.

    You take the environment's side. An empty line ends the dialogue.
    """

    run_dir: Annotated[Positional[Path], arg(name="run", metavar="RUN")]
    """Run folder."""
    checkpoint: str = "latest"
    """latest, best (by the evaluations during training), or iteration_000123 (with --keep-checkpoints)."""
    seed: int = 0
    """Seed of sampling."""
    trust: Trust = False

    def run(self) -> None:
        """Alternate turns with the policy, then print the dialogue."""
        from ppo.sampling import chat

        def ask(turn: str) -> str | None:
            console.print(f"policy  {turn}", markup=False)
            try:
                return console.input("   you  ").strip() or None
            except EOFError:
                return None

        dialogue = chat(self.run_dir, ask, self.checkpoint, self.seed)
        if dialogue is not None:
            console.print(f"{dialogue}", markup=False)
