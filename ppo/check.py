"""Check an environment before training on it, and list the environment families."""

import contextlib
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector import VectorEnv

from ppo.config import Config, read_wrappers
from ppo.config.memory import check_memory
from ppo.config.presets import preset, preset_name
from ppo.config.setting import check_ranges, schedules
from ppo.envs import FAMILIES, autoreset_mode, check_envs, make_envs, module_of, notes
from ppo.envs.atari import refusal
from ppo.envs.critic_key import CRITIC_KEY, critic_note, mark_critic
from ppo.envs.leaves import BoxLeaf
from ppo.envs.spaces import Packer, has_mask, one_line
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.collector import Collector
from ppo.loop.rollout import Rollout
from ppo.machine.flat import FlatPolicy
from ppo.machine.phase import phase
from ppo.machine.process import seed_everything
from ppo.numbers import count
from ppo.policies import Policy, build_policy, resolve_policy
from ppo.policies.features import describe_images


def check(
    env_id: str,
    num_envs: int = 4,
    steps: int = 1000,
    env_kwargs: dict[str, Any] | None = None,
    algorithm: str = "ppo",
    policy: str = "auto",
    wrap: tuple[str, ...] = (),
    max_episode_steps: int = 0,
    critic_key: str = CRITIC_KEY,
    resize: int | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (name, finding) pairs about an environment, from random steps in it.

    Args:
        env_id: as in `Config`.
        num_envs: environments stepped together.
        steps: random steps of each.
        env_kwargs: as in `Config`.
        algorithm: chooses the preset, as in `Config`.
        policy: as in `Config`.
        wrap: as in `Config`.
        max_episode_steps: as in `Config`.
        critic_key: as in `Config`.
        resize: as in `Config`; None: as in the preset.

    Raises:
        UsageError: the environment cannot be trained; the sentence says why.
    """
    for what, value in (("num_envs", num_envs), ("steps", steps)):
        if value < 1:
            raise UsageError(f"{what} = {value} is too small; choose at least 1")
    check_ranges(Config, {"max_episode_steps": max_episode_steps})
    config = preset(env_id, algorithm, policy)
    check_memory(config.replace({"num_envs": num_envs, "num_steps": steps}))
    torch.set_num_threads(1)
    options: dict[str, Any] = {"wrappers": read_wrappers(wrap), "max_episode_steps": max_episode_steps}
    side = config.resize if resize is None else resize
    with contextlib.closing(make_envs(env_id, num_envs, env_kwargs=env_kwargs, **options)) as made:
        envs = check_envs(made, resize=side)
        yield from _findings(env_id, mark_critic(envs, critic_key), steps, config)


def _findings(env_id: str, envs: VectorEnv, steps: int, config: Config) -> Iterator[tuple[str, str]]:
    obs_space, action_space = envs.single_observation_space, envs.single_action_space
    policy = _random_policy(envs, config)
    yield "environment", f"{env_id}: {envs.num_envs} x {type(envs.unwrapped).__name__}"
    yield "observation", one_line(obs_space)
    yield "action", one_line(action_space)
    if told := critic_note(obs_space):
        yield "critic", f"alone sees {told}; the policy acts without it"
    yield from (("note", note) for note in notes(envs, schedules(config)["gamma"].lowest_end))
    try:
        rollout, lengths, seconds = _roll(envs, policy, steps)
    except NonFiniteError as error:
        raise UsageError(f"{env_id} returns numbers that cannot be trained on: {error}") from error
    masked = has_mask(obs_space)  # a mask that comes with a step only is refused there
    yield "action mask", "yes; masked actions are never sampled" if masked else "none"
    yield "autoreset", autoreset_mode(envs).value
    decisions, rewards = int(rollout.valid.sum()), rollout.rewards[rollout.valid]
    yield "finite", f"observations and rewards of {decisions:,} random steps are all finite"
    if outside := _outside(obs_space, rollout):
        yield "bounds", outside
    yield from (("images", sentence) for sentence in describe_images(policy))
    cut, both = rollout.truncated & ~rollout.terminated, rollout.truncated & rollout.terminated
    also = f" (of which {int(both.sum())} also truncated, which changes nothing)" if both.any() else ""
    ends = f"{int(rollout.terminated.sum())} terminated{also}, {int(cut.sum())} truncated"
    mean = f"mean length {np.mean(lengths):.0f}" if lengths else "no episode is that short"
    yield "episodes", f"{len(lengths)} ended in {steps} steps of {envs.num_envs} environments: {ends}; {mean}"
    if values := int(rollout.value_ends.sum()):
        yield "value ends", f"{count(values, 'step')} ended the value but not the episode"
    yield "rewards", f"from {rewards.min():.3g} to {rewards.max():.3g}, mean {rewards.mean():.3g}"
    again = _roll(envs, policy, steps)[0]
    same = torch.equal(rollout.obs, again.obs) and torch.equal(rollout.rewards, again.rewards)
    yield "determinism", f"{'' if same else 'NO: '}the same seed gives {'the same' if same else 'different'} episodes"
    yield "speed", f"{decisions / seconds:,.0f} steps/s of the environments alone, on this machine"
    yield (
        "would train",
        (
            f"{resolve_policy(config.policy, envs)} policy, preset {preset_name(env_id, config.algorithm)}: {config.num_envs} environments x "
            f"{config.num_steps} steps, {count(config.update_epochs, 'epoch')} x {count(config.num_minibatches, 'minibatch', 'minibatches')}, "
            f"{config.total_timesteps:,} steps in total"
        ),
    )


def _outside(space: Space[Any], rollout: Rollout) -> str:
    """Return the first observed number that is outside the bounds of its space; "" if none is."""
    packer = Packer(space)
    for (path, leaf), values in zip(packer.leaves, packer.unpack(rollout.obs), strict=True):
        if not isinstance(leaf, BoxLeaf) or leaf.side:  # of a smaller image, each number is a mean of several
            continue
        x, low, high = values.numpy().reshape(-1, leaf.size), leaf.space.low.ravel(), leaf.space.high.ravel()
        for row, entry in np.argwhere((x < low) | (x > high))[:1]:
            at, bounds = f" at {path!r}" if path else "", f"{low[entry]:g} … {high[entry]:g}"
            scaled = leaf.image is not None or leaf.is_pixels
            used = "by which it is divided; correct them" if scaled else "which training does not use"
            return f"an observation{at} has {x[row, entry]:g} in entry {entry}, outside its bounds {bounds}, {used}"
    return ""


def _random_policy(envs: VectorEnv, config: Config) -> Policy:
    torch.manual_seed(0)
    spaces = envs.single_observation_space, envs.single_action_space
    return build_policy(resolve_policy(config.policy, envs), *spaces, config.policy_options())


def _roll(envs: VectorEnv, policy: Policy, steps: int) -> tuple[Rollout, list[int], float]:
    collector = Collector(envs, FlatPolicy(policy))
    collector.reset(seed_everything(0, (0, 0)))
    with phase(f"taking {count(steps, 'random step')} in each of {count(envs.num_envs, 'environment')}, twice"):
        rollout, episodes = collector.collect(steps)
    return rollout, [episode.length for episode in episodes], collector.env_seconds


def list_families(name: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Yield (family, text, ids): for each of its presets what it would train, and the environments that take it.

    Families that are not installed come last. Their text is the command that installs them, and there are no ids.

    Args:
        name: only the families whose names contain this, in upper or lower case.

    Raises:
        UsageError: there is none.
    """
    wanted = [family for family in FAMILIES if name.lower() in family.name.lower()]
    if not wanted:
        raise UsageError(f"there is no family {name!r} of environments; choose {', '.join(f.name for f in FAMILIES)}")
    for family in sorted(wanted, key=lambda family: not family.installed):
        if not family.installed:
            yield family.name, f"not installed: {family.install}", []
            continue
        family.register()
        registry = gymnasium.registry
        ids = [
            i
            for i, spec in registry.items()
            if module_of(spec).startswith(family.entry_points) and not refusal(i, registry)
        ]
        presets: dict[str, tuple[Config, list[str]]] = {}
        for env_id in ids:
            presets.setdefault(preset_name(env_id), (preset(env_id), []))[1].append(env_id)
        for own, (config, members) in presets.items():
            yield family.name, f"preset {own}: {_policy(config, members)}, {config.total_timesteps:,} steps", members


def _policy(config: Config, env_ids: list[str]) -> str:
    """Return the policy for the first environment that can be made: old versions may need other packages; else why none can."""
    reason = ""
    for env_id in env_ids:
        try:
            with contextlib.closing(make_envs(env_id, 1)) as envs:
                return f"{resolve_policy(config.policy, envs)} policy"
        except UsageError as error:
            reason = reason or str(error)
    return f"none can be made ({reason})"
