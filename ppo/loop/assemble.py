"""Assembling: settings and environments become the parts that the loop works with."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from ppo.config import Config, read_wrappers
from ppo.config.effects import check_actions, check_network
from ppo.config.memory import check_memory
from ppo.config.words import override
from ppo.envs import check_envs, check_vector_env, make_envs
from ppo.envs.space_json import spaces_of
from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.loop.collector import Collector
from ppo.loop.learner import Learner
from ppo.loop.reference import Reference
from ppo.machine.compile import resolve_compile
from ppo.machine.distributed import gathered, join, rank, size
from ppo.machine.flat import FlatPolicy
from ppo.machine.process import Choice, resolve_device, resolve_precision, resolve_threads, seed_everything
from ppo.policies import Policy, build_policy, resolve_policy
from ppo.run.checkpoint import digest_of, load_exactly
from ppo.run.load import load_for
from ppo.run.tracker import check_tracker


@dataclass
class Parts:
    """The parts of a training run, and what was chosen for it."""

    config: Config
    envs: VectorEnv
    own_envs: bool  # the caller gave a VectorEnv
    spaces: dict[str, Any]  # of the environments, as JSON
    policy_name: str
    policy: Policy
    device: Choice[torch.device]
    precision: Choice[str]
    threads: Choice[int]
    compiled: Choice[bool]
    collector: Collector
    evaluator: Collector  # plays evaluations; the collector, unless they have arguments of their own
    learner: Learner
    reference: Reference | None

    def close(self) -> None:
        """Close the environments unless they are the caller's."""
        if not self.own_envs:
            for envs in {self.envs, self.evaluator.envs}:
                envs.close()

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close the environments if the block raises an error."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def notes(self) -> tuple[str, ...]:
        """Return why something is not compiled that should be."""
        functions = self.collector.act, self.learner.step, self.learner.gradient, self.learner.move
        return tuple(f"the {part.name} is not compiled: {part.reason}" for part in functions if part.reason)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that training changes, by name: weights, optimizer, statistics, KL coefficient, a task's memory."""
        policy, text = {f"policy.{name}": x for name, x in self.policy.state_dict().items()}, text_env(self.envs)
        others = [part.state_dict() for part in (self.learner, self.reference, text) if part is not None]
        return {name: x for tensors in (policy, *others) for name, x in tensors.items()}

    def load_state_dict(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Restore what `state_dict` returned; `path` is where it was read, for errors.

        Raises:
            UsageError: the tensors do not fit the parts.
        """
        load_exactly(self.policy, tensors, "policy.", path)
        self.learner.load_state_dict(tensors)
        if self.reference is not None:
            self.reference.load_state_dict(tensors)
        text = text_env(self.envs)
        if text is not None:
            text.load_state_dict(tensors)


def assemble(config: Config, envs: VectorEnv | None = None, fresh: bool = True) -> Parts:
    """Make the parts of a run, with initial weights from the seed or from `init_from`.

    Args:
        config: the settings.
        envs: a VectorEnv of the caller's own; it sets `num_envs` and `env_id`. With several ranks, it is this rank's share.
        fresh: the run begins here; weights of one that goes on come from its checkpoint.

    Raises:
        UsageError: a setting, a space or an environment cannot be trained.
    """
    join()
    if rank() == 0:
        check_tracker(config.track)
    own_envs = envs is not None
    # An environment may change the current folder.
    reference, init_from = (run and str(Path(run).absolute()) for run in (config.reference, config.init_from))
    init_from = init_from if fresh else ""
    if envs is not None:
        check_vector_env(envs)
        for setting in (name for name in ("wrap", "max_episode_steps") if getattr(config, name)):
            raise UsageError(
                f"{setting} = {getattr(config, setting)} has no effect on a VectorEnv of your own; apply it there",
                page="environments#your-own-vectorenv",
            )
        name = envs.spec.id if envs.spec is not None else type(envs.unwrapped).__name__
        config = config.replace({"num_envs": int(envs.num_envs) * size(), "env_id": name})
    config.validate()
    if own_envs and config.eval_env_kwargs:
        raise UsageError(
            "eval_env_kwargs needs environments made from an env_id, not a VectorEnv of your own; leave it out"
        )
    with contextlib.ExitStack() as on_error:
        envs = _envs(config, config.env_kwargs, on_error) if envs is None else envs
        envs = eval_envs = check_envs(envs, config.group_size, config.log_info, config.resize)
        if config.eval_env_kwargs:
            eval_envs = _envs(config, override(config.env_kwargs, config.eval_env_kwargs), on_error)
            eval_envs = check_envs(eval_envs, config.group_size, config.log_info, config.resize)
            if spaces_of(eval_envs) != spaces_of(envs):
                raise UsageError(
                    f"eval_env_kwargs = {config.eval_env_kwargs} gives {config.env_id} other spaces than in training; "
                    "leave out what changes them"
                )
        parts = _assemble(config, envs, eval_envs, own_envs, init_from, reference)
        on_error.pop_all()
    return parts


def _envs(config: Config, env_kwargs: dict[str, Any], on_error: contextlib.ExitStack) -> VectorEnv:
    """Make this rank's share of the environments, to be closed on an error."""
    share = config.share(rank(), size())
    envs = make_envs(
        config.env_id, len(share), config.vectorization, env_kwargs, config.group_size, first=share.start,
        wrappers=read_wrappers(config.wrap), max_episode_steps=config.max_episode_steps,
    )  # fmt: skip
    on_error.callback(envs.close)
    return envs


def _assemble(
    config: Config, envs: VectorEnv, eval_envs: VectorEnv, own_envs: bool, init_from: str, reference: str
) -> Parts:
    text = text_env(envs)
    if size() > 1 and text is not None and text.state_dict():
        raise UsageError(
            f"{config.env_id} remembers what it saw, and each of {size()} processes would remember its own share; use --processes 1"
        )
    policy_name = resolve_policy(config.policy, envs)
    torch.set_num_threads(1)  # the rounding of orthogonal weights depends on the number
    seed_everything(config.seed)
    single = envs.single_observation_space, envs.single_action_space
    check_memory(config.replace({"policy": policy_name}), single[0])
    check_network(config, policy_name)
    check_actions(config, single[1])
    policy = build_policy(policy_name, *single, config.policy_options())
    spaces = spaces_of(envs)
    device = resolve_device(config.device, policy)
    precision = resolve_precision(config.precision, device.value, policy)
    flat = FlatPolicy(policy.to(device.value), precision.value)
    length, minibatch = config.sequence_length(policy.state_size > 0), config.batch_size // config.num_minibatches
    threads = resolve_threads(config.threads, minibatch // length * len(flat.vector) // size())
    torch.set_num_threads(threads.value)
    initial = load_for("init_from", init_from, spaces) if init_from else None
    if initial is not None:
        load_exactly(policy, initial.policy.state_dict(), "", Path(init_from))
    compiled = resolve_compile(config.compile, *config.work(), length)
    learner = Learner(flat, config, compiled.value)
    if initial is not None:
        learner.estimator.take_scale(initial.reward_scale)
    options = flat, compiled.value, length, config.share(rank(), size()).start
    collector = Collector(envs, *options)
    return Parts(
        config, envs, own_envs, spaces, policy_name, policy, device, precision, threads, compiled,
        collector=collector, evaluator=collector if eval_envs is envs else Collector(eval_envs, *options),
        learner=learner, reference=_reference(config, reference, spaces, device.value),
    )  # fmt: skip


def check_alike(parts: Parts) -> None:
    """Check that all ranks have the same settings and hold the same numbers.

    Raises:
        UsageError: they do not.
    """
    if size() == 1:
        return
    settings = parts.config.to_json()
    tensors = {name: x.detach().cpu().contiguous() for name, x in parts.state_dict().items()}
    others = gathered((settings, digest_of(tensors, "")))
    for number, (other, digest) in enumerate(others):
        if differing := [name for name, value in others[0][0].items() if other[name] != value]:
            raise UsageError(
                f"rank {number} has other settings than rank 0: {', '.join(differing)}; start all ranks alike"
            )
        if digest != others[0][1]:
            raise UsageError(
                f"rank {number} no longer holds the same numbers as rank 0; use machines of one kind with the same packages, and "
                "resume"
            )


def _reference(config: Config, run: str, spaces: dict[str, Any], device: torch.device) -> Reference | None:
    if not run:
        return None
    saved = load_for("reference", run, spaces, temperature=config.temperature, top_k=0, top_p=1.0)
    coefficients = config.kl_coef, config.kl_target, config.kl_horizon
    return Reference(saved.policy.to(device), *coefficients, saved.meta["sha256"])
