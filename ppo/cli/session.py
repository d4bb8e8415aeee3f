"""A training session in the terminal: what was resolved, how it goes, what came of it and what to do next."""

import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console

from ppo.cli.terminal import Reporter, print_lines, time_split
from ppo.envs import autoreset_mode, time_limit
from ppo.envs.spaces import one_line
from ppo.loop.trainer import Trainer
from ppo.supervised.pretrain import pretrain as learn
from ppo.supervised.quality import agreement
from ppo.supervised.reward_model import train_reward_model
from ppo.text.ratings import fetch, read


def train(trainer: Trainer, origin: str, console: Console) -> None:
    """Print what was resolved, train with a progress bar, and print what came of it and what to do next.

    Args:
        trainer: new, or resumed.
        origin: where its settings come from.
        console: printed to.
    """
    print_lines(console, [("settings", origin), *describe(trainer)])
    with contextlib.closing(trainer.envs), Reporter(console, trainer.global_step) as reporter:
        run_dir = trainer.train(reporter)
    folder = shlex.quote(str(run_dir))
    if not trainer.finished:
        console.print(
            f"stopped at step {trainer.global_step:,}; go on with: {_command('ppo')} resume {folder}", markup=False
        )
        return
    lines = [
        ("time", time_split(trainer.seconds, trainer.compiled.value, trainer.config.vectorization)),
        ("run folder", str(run_dir)),
        ("evaluate it", f"{_command('ppo')} eval {folder}"),
        ("curves", f"{_command('tensorboard')} --logdir {shlex.quote(str(trainer.config.runs_dir))}"),
    ]
    if trainer.config.eval_episodes:
        played = (
            f"over {trainer.config.eval_episodes} deterministic episodes (best of the run {trainer.best_return:.1f})"
        )
        lines.insert(0, ("evaluation", f"return {trainer.last_evaluation:.1f} {played}"))
    print_lines(console, lines)


def pretrain(trainer: Trainer, corpus: str, patience: int, console: Console) -> None:
    """Print what was resolved, pretrain with a progress bar, and print what came of it and what to do next; see `train`."""
    print_lines(console, describe(trainer)[:5])
    with contextlib.closing(trainer.envs), Reporter(console) as reporter:
        found = learn(trainer, corpus, patience, reporter)
    folder = shlex.quote(str(found.run_dir))
    near = f"--init-from {folder} --reference {folder}"
    lines = [
        ("perplexity", f"{found.perplexity:.3f} on text that was held out, after {found.tokens:,} tokens"),
        ("run folder", str(found.run_dir)),
        ("read some", f"{_command('ppo')} sample {folder}"),
        ("train from it", f"{_command('ppo')} train {_same(trainer)} {near}"),
    ]
    print_lines(console, lines)


def reward(trainer: Trainer, source: str, raters: str, patience: int, console: Console) -> None:
    """Print what was resolved, train a reward model, and print how good it is and what to do next; see `train`."""
    print_lines(console, describe(trainer)[:5])
    with contextlib.closing(trainer.envs), Reporter(console) as reporter:
        found = train_reward_model(trainer, source, raters, patience, reporter)
    quality, thirds = found.quality, ", ".join(f"{x:.3f}" for x in found.quality.by_length)
    use = f"{_command('ppo')} train {_same(trainer, reward=str(found.run_dir))} --init-from … --reference …"
    if not found.finished:
        use = "stopped before its budget was spent, so that text/Write-v0 does not take it; train it anew"
    lines = [
        (
            "accuracy",
            f"{quality.accuracy:.3f} of {quality.comparisons:,} comparisons of held-out texts by one rater each",
        ),
        (
            "raters",
            f"{quality.agreement:.3f} is what another rater says the same of, {quality.ceiling:.3f} all the others",
        ),
        ("by length", f"{thirds}: short, middle, long texts"),
        ("calibration", f"{quality.calibration:.3f} is the mean distance of the probability from what came true"),
        ("run folder", str(found.run_dir)),
        ("write for it", use),
    ]
    print_lines(console, lines)


def data(name: str, file: Path | None, console: Console) -> None:
    """Fetch a set, or read a file, and print what is in it."""
    path = file or fetch(name)
    found = read(str(path))
    words = sorted(len(text.split()) for text in found.texts)
    lines = [("file", str(path)), ("texts", f"{len(found.texts):,} of {words[0]} to {words[-1]} words")]
    if found.ratings:
        said = [rating for each in found.ratings for rating in each]
        count = sorted(map(len, found.ratings))
        each = f"{count[0]} to {count[-1]} of a text"
        lines += [
            ("ratings", f"{len(said):,} from {min(said):g} to {max(said):g}, {each}"),
            ("agreement", f"{agreement(found):.3f} of comparisons are made alike by another rater of either text"),
        ]
    if found.pairs:
        lines.append(("preferences", f"{len(found.pairs):,}"))
    print_lines(console, [*lines, ("the first", found.texts[0])])


def _same(trainer: Trainer, **changed: str) -> str:
    """Return the environment of a run and its arguments, as words of a command line."""
    given = trainer.config.env_kwargs | changed
    words = [str(word) for pair in given.items() for word in pair]
    return shlex.join([trainer.config.env_id, *(["--env-kwargs", *words] if words else [])])


def describe(trainer: Trainer) -> list[tuple[str, str]]:
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
        ("device", f"{trainer.device.value}: {trainer.device.reason}"),
        ("threads", f"{trainer.threads.value}: {trainer.threads.reason}"),
        ("compile", f"{'on' if trainer.compiled.value else 'off'}: {trainer.compiled.reason}"),
        ("rollout", f"T {config.num_steps} x N {config.num_envs} = {config.batch_size:,} steps"),
        ("update", f"{config.update_epochs} epochs x {config.num_minibatches} minibatches of B {sequences} x L {length}, "
                   f"{config.optimizer}"),
        ("budget", f"{config.total_timesteps:,} steps, a checkpoint every {trainer.checkpoint_every} iterations"),
    ]  # fmt: skip
    segment = trainer.checkpoint_every * config.num_steps
    if segment < time_limit(envs):
        cut = f"a checkpoint every {segment} steps of an environment cuts episodes, which may take {time_limit(envs)}"
        lines.append(("note", f"{cut}; raise --checkpoint-every"))
    return lines


def _command(name: str) -> str:
    """Return how to call an installed command from here: by its name, or by its path where the PATH does not find it."""
    beside = Path(sys.executable).with_name(name)
    return name if shutil.which(name) or not beside.exists() else os.path.relpath(beside)
