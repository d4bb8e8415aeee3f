"""Assembling: settings and environments become the parts that the loop works with."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from ppo.config import Config, read_wrappers
from ppo.config.effects import check_actions, check_episodes, check_network
from ppo.config.lengths import sequence_length, share, work
from ppo.config.memory import check_memory
from ppo.config.penalty import kl_in_loss
from ppo.config.setting import schedules
from ppo.config.words import override
from ppo.envs import check_envs, check_vector_env, make_envs, time_limit
from ppo.envs.critic_key import mark_critic
from ppo.envs.space_json import spaces_of
from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.loop.best import Best
from ppo.loop.collector import Collector
from ppo.loop.learner import Learner
from ppo.loop.reference import Reference
from ppo.machine.compile import resolve_compile
from ppo.machine.distributed import join, rank, size
from ppo.machine.flat import FlatPolicy
from ppo.machine.process import Choice, resolve_device, resolve_precision, resolve_threads, seed_everything
from ppo.policies import Policy, build_policy, resolve_policy
from ppo.run.checkpoint import load_exactly
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
    best: Best | None  # of a text policy

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

    def restart(self, names: Collection[str]) -> None:
        """Let those of these coefficients that adapt begin again at the start that the settings name."""
        self.learner.coefs.restart(names)
        if self.reference is not None and "kl_coef" in names:
            self.reference.restart()

    def notes(self) -> tuple[str, ...]:
        """Return why something is not compiled that should be."""
        functions = self.collector.act, self.learner.step, self.learner.gradient, self.learner.move
        return tuple(f"the {part.name} is not compiled: {part.reason}" for part in functions if part.reason)

    def describe(self) -> dict[str, Any]:
        """Return what a checkpoint says about the parts, as JSON values."""
        versions = {package.__name__: package.__version__ for package in (torch, gymnasium, np)}
        about = {"config": self.config.to_json(), "own_envs": self.own_envs, "versions": versions}
        return about | {"policy": self.policy_name, "spaces": self.spaces}

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that training changes, by name: weights, optimizer, statistics, coefficients, memories."""
        policy, text = {f"policy.{name}": x for name, x in self.policy.state_dict().items()}, text_env(self.envs)
        parts = (self.learner, self.learner.coefs, self.reference, self.best, text)
        others = [part.state_dict() for part in parts if part is not None]
        return {name: x for tensors in (policy, *others) for name, x in tensors.items()}

    def load_state_dict(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Restore what `state_dict` returned; `path` is where it was read, for errors.

        Raises:
            UsageError: the tensors do not fit the parts.
        """
        load_exactly(self.policy, tensors, "policy.", path)
        self.learner.load_state_dict(tensors)
        for part in (self.learner.coefs, self.reference, self.best):
            if part is not None:
                part.load_state_dict(tensors)
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
        envs = eval_envs = _checked(config, envs)
        if config.eval_env_kwargs:
            eval_envs = _envs(config, override(config.env_kwargs, config.eval_env_kwargs), on_error)
            eval_envs = _checked(config, eval_envs)
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
    own = share(config, rank(), size())
    envs = make_envs(
        config.env_id, len(own), config.vectorization, env_kwargs, config.group_size, first=own.start,
        wrappers=read_wrappers(config.wrap), max_episode_steps=config.max_episode_steps,
    )  # fmt: skip
    on_error.callback(envs.close)
    if envs.num_envs != len(own):
        raise UsageError(
            f"num_envs = {config.num_envs} does not fit whole copies of {config.env_id}; choose --num-envs {envs.num_envs * size()}",
            "environments#several-agents",
        )
    return envs


def _checked(config: Config, envs: VectorEnv) -> VectorEnv:
    return mark_critic(check_envs(envs, config.group_size, config.log_info, config.resize), config.critic_key)


def _assemble(
    config: Config, envs: VectorEnv, eval_envs: VectorEnv, own_envs: bool, init_from: str, reference: str
) -> Parts:
    text = text_env(envs)
    if size() > 1 and text is not None and text.remembers:
        raise UsageError(
            f"{config.env_id} remembers what it saw, and each of {size()} processes would remember its own share; use --processes 1"
        )
    policy_name = resolve_policy(config.policy, envs)
    torch.set_num_threads(1)  # the rounding of orthogonal weights depends on the number
    seed_everything(config.seed)
    single = envs.single_observation_space, envs.single_action_space
    check_memory(config.replace({"policy": policy_name}), single[0])
    check_network(config, policy_name)
    check_episodes(config, text.max_tokens if text is not None else time_limit(envs))
    check_actions(config, single[1])
    policy = build_policy(policy_name, *single, config.policy_options())
    spaces = spaces_of(envs)
    device = resolve_device(config.device, policy)
    precision = resolve_precision(config.precision, policy)
    flat = FlatPolicy(policy.to(device.value), precision.value)
    length, minibatch = sequence_length(config, policy.state_size > 0), config.batch_size // config.num_minibatches
    threads = resolve_threads(config.threads, minibatch // length * len(flat.vector) // size())
    torch.set_num_threads(threads.value)
    initial = load_for("init_from", init_from, spaces) if init_from else None
    if initial is not None:
        load_exactly(policy, initial.policy.state_dict(), "", Path(init_from))
    compiled = resolve_compile(config.compile, *work(config), length)
    learner = Learner(flat, config, compiled.value, text is not None and text.written)
    if initial is not None:
        learner.estimator.take_scale(initial.reward_scale)
    options = flat, compiled.value, length, share(config, rank(), size()).start
    collector = Collector(envs, *options)
    return Parts(
        config, envs, own_envs, spaces, policy_name, policy, device, precision, threads, compiled,
        collector=collector, evaluator=collector if eval_envs is envs else Collector(eval_envs, *options),
        learner=learner, reference=_reference(config, reference, spaces, device.value),
        best=Best(text.vocabulary, collector.packer) if text is not None and text.written else None,
    )  # fmt: skip


def _reference(config: Config, run: str, spaces: dict[str, Any], device: torch.device) -> Reference | None:
    if not run:
        return None
    saved = load_for("reference", run, spaces, temperature=config.temperature, top_k=0, top_p=1.0)
    if saved.meta["made_by"] == "reward":
        raise UsageError(
            f"reference = {run!r} is a reward model, which never learnt to write; choose a run of `ppo pretrain` or `ppo train`"
        )
    coefficients = schedules(config)["kl_coef"], config.kl_target, config.kl_horizon
    return Reference(saved.policy.to(device), *coefficients, saved.meta["sha256"], kl_in_loss(config))
