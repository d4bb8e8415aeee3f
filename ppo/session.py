"""A training session in the terminal: what was resolved, how it goes, what came of it and what to do next."""

import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console

from ppo.envs import autoreset_mode, time_limit
from ppo.envs.spaces import one_line
from ppo.pretrain import pretrain as learn
from ppo.terminal import Reporter, time_split
from ppo.trainer import Trainer


def train(trainer: Trainer, origin: str, console: Console) -> None:
    """Print what was resolved, train with a progress bar, and print what came of it and what to do next.

    Args:
        trainer: new, or resumed.
        origin: where its settings come from.
        console: printed to.
    """
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


def pretrain(trainer: Trainer, corpus: str, patience: int, console: Console) -> None:
    """Print what was resolved, pretrain with a progress bar, and print what came of it and what to do next; see `train`."""
    for name, value in describe(trainer)[:5]:
        console.print(f"{name:>13}  {value}", markup=False)
    with contextlib.closing(trainer.envs), Reporter(console) as reporter:
        found = learn(trainer, corpus, patience, reporter)
    folder = shlex.quote(str(found.run_dir))
    console.print(f"   perplexity  {found.perplexity:.3f} on text that was held out, after {found.tokens:,} tokens")
    console.print(f"   run folder  {folder}", markup=False)
    console.print(f"    read some  {_command('ppo')} sample {folder}", markup=False)
    given = [str(word) for pair in trainer.config.env_kwargs.items() for word in pair]
    same = shlex.join([trainer.config.env_id, *(["--env-kwargs", *given] if given else [])])
    near = f"--init-from {folder} --reference {folder}"
    console.print(f"  go on from it  {_command('ppo')} train {same} {near}", markup=False)


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
        ("device", f"{trainer.device}: {trainer.why_device}"),
        ("threads", f"{trainer.threads}: {trainer.why_threads}"),
        ("compile", f"{'on' if trainer.compiled else 'off'}: {trainer.why_compiled}"),
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
