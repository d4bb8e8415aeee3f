"""A session in the terminal: print the resolved settings, show the progress, print the result and the next commands."""

import contextlib
import shlex
import statistics
from pathlib import Path

from rich.console import Console

from ppo.cli.history import Table
from ppo.cli.reporter import Reporter
from ppo.cli.terminal import command_of, print_lines, time_split
from ppo.config import Config
from ppo.config.setting import schedules
from ppo.config.words import environment_words, write_pairs
from ppo.envs import autoreset_mode, notes, time_limit
from ppo.envs.critic_key import critic_note
from ppo.envs.spaces import one_line
from ppo.envs.text_env import check_rewarded
from ppo.loop.scalars import evaluation_limit
from ppo.loop.trainer import Trainer
from ppo.machine import agent
from ppo.machine.distributed import rank, size
from ppo.numbers import count, number
from ppo.policies.features import describe_images
from ppo.run.files import shown
from ppo.supervised.pretrain import Pretraining
from ppo.supervised.reward_model import RewardModelTraining

NO_EPISODE = (
    "no episode ended in training, so there is no return of the sampled policy; train longer, give the environment a time limit "
    "(--max-episode-steps), or raise --checkpoint-every, since a checkpoint cuts episodes"
)


def go_on(settings: Config) -> Trainer | None:
    """Return the trainer of a run that was under way when a rank was killed; None if there was none.

    It continues from the latest checkpoint, or without one from the beginning, in the same folder.
    """
    folder = agent.noted(agent.notes(), agent.FOLDER)
    if not folder:
        return None
    if (Path(folder) / "checkpoints" / "latest.safetensors").exists():
        return Trainer.resume(folder)
    trainer = Trainer(settings)
    trainer.run_dir = Path(folder)
    return trainer


def train(trainer: Trainer, origin: str, console: Console) -> None:
    """Train with a progress bar; print the resolved settings before, and the result and the next commands after.

    Args:
        trainer: new, or resumed.
        origin: where its settings come from.
        console: printed to.
    """
    check_rewarded(trainer.envs, trainer.config.env_id, trainer.config.reward)
    folder = trainer.open_run()  # a refusal comes before the first line
    if agent.noted(agent.notes(), agent.FOLDER):
        print_lines(console, [("restart", f"at step {trainer.global_step:,}, because a process was killed")])
    else:
        print_lines(console, [("settings", origin), *describe(trainer)])
    if rank() == 0:
        agent.keep_folder(trainer.config.runs_dir / folder.name)
    reporter = Reporter(console, trainer.config.to_json(), trainer.global_step)
    for _, step, row in Table(folder / "progress.csv").new_rows():  # of a resumed run
        if step <= trainer.global_step:
            reporter.history.add(row, step)
    with contextlib.closing(trainer), reporter:
        run_dir = shown(trainer.train(reporter))
        reporter.running, reporter.status = False, _ended(trainer)
    quoted = shlex.quote(str(run_dir))
    if not trainer.finished:
        resume = f"{command_of('ppo')} resume {quoted}"
        console.print(f"stopped at step {trainer.global_step:,}; continue with: {resume}", markup=False)
        return
    lines = [("time", time_split(reporter.history.seconds, trainer.parts.compiled.value, trainer.config.vectorization))]
    if trainer.reached:
        lines.insert(0, ("finished", f"at step {trainer.global_step:,}, since {trainer.reached}"))
    if trainer.evaluation:
        lines.insert(0, ("evaluation", _evaluation(trainer)))
    if not reporter.history.episodes:
        lines.insert(0, ("note", NO_EPISODE))
    following = [
        ("run folder", str(run_dir)),
        ("evaluate it", f"{command_of('ppo')} eval {quoted}"),
        ("curves", f"{command_of('tensorboard')} --logdir {shlex.quote(str(trainer.config.runs_dir))}"),
    ]
    print_lines(console, lines)
    print_lines(console, following, wrap=False)


def _ended(trainer: Trainer) -> str:
    """Return how a run ended. Steps that are too few for a rollout may remain of the budget."""
    if trainer.reached:
        return f"finished: {trainer.reached}"
    left = trainer.config.total_timesteps - trainer.global_step
    return f"finished{'; the rest is less than a rollout' if left else ''}" if trainer.finished else "stopped"


def _evaluation(trainer: Trainer) -> str:
    """Return the mean return of the last evaluation, how many of its episodes did not end, and the best mean return."""
    episodes = trainer.evaluation
    unfinished = [episode for episode in episodes if not episode.ended]
    text = f"return {number(statistics.fmean(episode.episode_return for episode in episodes))} over "
    text += count(len(episodes), f"{'sampled' if trainer.config.eval_sampled else 'deterministic'} episode")
    if unfinished:
        text += f", of which {len(unfinished):,} did not end within {count(evaluation_limit(trainer.parts), 'step')}"
    return f"{text} (best of the run {number(trainer.best_return)})"


def pretrain(trainer: Trainer, corpus: str, demonstrations: str, patience: int, console: Console) -> None:
    """Pretrain with a progress bar, and print the result and the next commands; see `ppo.supervised.pretrain`."""
    with contextlib.closing(trainer):
        training = Pretraining(trainer, corpus, demonstrations, patience)
        recorded = [("demonstrated", str(training.examples.demonstrations))] if demonstrations else []
        print_lines(console, describe(trainer)[:5] + recorded)
        with Reporter(console, trainer.config.to_json()) as reporter:
            result = training.run(reporter)
            reporter.running, reporter.status = False, "finished" if result.finished else "stopped"
    run_dir = shown(result.run_dir)
    folder = shlex.quote(str(run_dir))
    start = f"{_environment(trainer)} --init-from {folder} --reference {folder}"
    steps = "steps" if demonstrations else "tokens"
    lines = [("perplexity", f"{result.perplexity:.3f} of the saved policy on {result.held_out:,} held-out tokens")]
    if demonstrations:
        lines = [("loss", f"{result.loss:.3f} nats a step of the saved policy on {result.held_out:,} held-out steps")]
    lines[0] = (lines[0][0], f"{lines[0][1]}; {result.steps:,} {steps} of training")
    if not result.finished:
        stopped = f"before the budget of {trainer.config.total_timesteps:,} {steps}; it cannot be resumed"
        lines.insert(0, ("stopped", stopped))
    look = ("evaluate it", "eval") if demonstrations else ("read samples", "sample")
    following = [
        ("run folder", str(run_dir)),
        (look[0], f"{command_of('ppo')} {look[1]} {folder}"),
        ("train from it", f"{command_of('ppo')} train {start}"),
    ]
    print_lines(console, lines)
    print_lines(console, following, wrap=False)


def reward(trainer: Trainer, source: str, raters: str, patience: int, console: Console) -> None:
    """Train a reward model with a progress bar, and print its quality; see `ppo.supervised.reward_model`."""
    with contextlib.closing(trainer):
        training = RewardModelTraining(trainer, source, raters, patience)
        lines = describe(trainer)[:5]
        if training.repeats:
            lines.append(("note", f"{training.repeats:,} lines of {source} repeat the texts of an earlier line"))
        print_lines(console, lines)
        with Reporter(console, trainer.config.to_json()) as reporter:
            result = training.run(reporter)
            reporter.running, reporter.status = False, "finished" if result.finished else "stopped"
    run_dir = shown(result.run_dir)
    use = "training was interrupted, so text/Write-v0 will not accept this reward model; train it again"
    if result.finished:
        use = f"{command_of('ppo')} train {_environment(trainer, reward=str(run_dir))} --init-from … --reference …"
    print_lines(console, [*result.quality.describe(), ("scores", str(result.scale))])
    print_lines(console, [("run folder", str(run_dir)), ("train with it", use)], wrap=False)


def _environment(trainer: Trainer, **more: str) -> str:
    return shlex.join(environment_words(trainer.config, trainer.config.env_kwargs | more))


def describe(trainer: Trainer) -> list[tuple[str, str]]:
    """Return (name, text) pairs about the resolved settings."""
    config, envs, length = trainer.config, trainer.envs, trainer.learner.seq_len
    parameters = sum(p.numel() for p in trainer.policy.parameters())
    sequences = config.batch_size // length // config.num_minibatches
    shares = f" in {size()} processes" if size() > 1 else ""
    vector = f"{config.num_envs} x {type(envs.unwrapped).__name__}{shares}, autoreset {autoreset_mode(envs).value}"
    limit = f", episodes of at most {count(config.max_episode_steps, 'step')}" if config.max_episode_steps else ""
    lines = [
        ("environment", f"{' '.join([config.env_id, *write_pairs(config.env_kwargs)])}: {vector}{limit}"),
        *[("wrapper", text) for text in config.wrap],
        ("observation", one_line(envs.single_observation_space)),
        ("action", one_line(envs.single_action_space)),
        ("policy", f"{trainer.parts.policy_name}, {count(parameters, 'parameter')}"),
        ("device", f"{trainer.parts.device.value}: {trainer.parts.device.reason}"),
        ("precision", f"{trainer.parts.precision.value}: {trainer.parts.precision.reason}"),
        ("threads", f"{trainer.parts.threads.value}: {trainer.parts.threads.reason}"),
        ("compile", f"{'on' if trainer.parts.compiled.value else 'off'}: {trainer.parts.compiled.reason}"),
        ("rollout", f"T {config.num_steps} x N {config.num_envs} = {config.batch_size:,} steps"),
        ("update", f"{count(config.update_epochs, 'epoch')} x {count(config.num_minibatches, 'minibatch', 'minibatches')} of B {sequences} x "
                   f"L {length}, {config.optimizer}"),
        ("budget", f"{config.total_timesteps:,} steps, a checkpoint every {count(trainer.checkpoint_every, 'iteration')}"),
    ]  # fmt: skip
    lines += [("note", note) for note in notes(envs, schedules(config)["gamma"].lowest_end)]
    if told := critic_note(envs.single_observation_space):
        lines.append(("critic", f"alone sees {told}; the policy acts without it"))
    if (left := int(trainer.learner.warmup.left)) > 0:
        lines.append(("critic", f"learns alone in the next {count(left, 'iteration')}"))
    if config.clip_rewards:
        lines.append(("rewards", f"clipped to ± {config.clip_rewards:g} in training; returns are of the raw ones"))
    lines += [("images", sentence) for sentence in describe_images(trainer.policy)]
    segment = trainer.checkpoint_every * config.num_steps
    if segment < time_limit(envs):
        cut = (
            f"a checkpoint every {count(segment, 'step')} truncates episodes, which last up to {time_limit(envs)} steps"
        )
        lines.append(("note", f"{cut}; raise --checkpoint-every"))
    return lines
