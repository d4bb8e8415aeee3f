"""Settings that do not fit are refused: one needs or excludes another, or the actions have no part that it acts on."""

import dataclasses
import math
from typing import Any

from gymnasium.spaces import Space

from ppo.config.goal import read_goal
from ppo.config.schedule import Schedule
from ppo.config.setting import schedules
from ppo.config.words import read_wrappers
from ppo.envs.spaces import check_space, leaves
from ppo.errors import UsageError

FACTORS = {  # parts of an action, as `Leaf.factors` names them
    "categorical": "no part of an action is a choice (Discrete or MultiDiscrete)",
    "gaussian": "no part of an action is a Box of numbers",
}


def check_needs(settings: Any) -> None:
    """Refuse a setting that has no effect since the setting that it needs is not set.

    Raises:
        UsageError: names both.
    """
    for name, need in _changed(settings, "needs"):
        if not getattr(settings, need):
            raise UsageError(
                f"{name} = {getattr(settings, name)} has no effect without {need}; add --{need.replace('_', '-')} or leave out {name}"
            )


def check_together(settings: Any) -> None:
    """Refuse settings that do not go together, and texts that cannot be read.

    Raises:
        UsageError: names them.
    """
    for name, changed in (("group_size", settings.group_size > 1), ("risk_quantile", settings.risk_quantile > 0)):
        if changed and settings.gamma != 1:
            raise UsageError(
                f"{name} = {getattr(settings, name)} compares whole returns; gamma = {settings.gamma} must be 1",
                page="text#without-a-critic" if name == "group_size" else "text#risk-seeking",
            )
    if settings.risk_quantile and settings.norm_adv:
        raise UsageError(
            f"risk_quantile = {settings.risk_quantile} weighs returns by their distance to the quantile, from which norm_adv "
            "would subtract the mean; add --no-norm-adv",
            page="text#risk-seeking",
        )
    if set(settings.exp_name) & set("/\\:") or not settings.exp_name.isprintable():
        raise UsageError(
            f"exp_name = {settings.exp_name!r} is part of a folder's name; leave out slashes, colons and control characters"
        )
    if settings.total_timesteps < settings.batch_size:
        raise UsageError(
            f"total_timesteps = {settings.total_timesteps} is less than one rollout of num_envs * num_steps = "
            f"{settings.batch_size}; raise the budget or lower num_envs or num_steps"
        )
    if settings.max_episode_steps and "max_episode_steps" in settings.env_kwargs:
        raise UsageError(
            f"max_episode_steps = {settings.max_episode_steps}, but env_kwargs has max_episode_steps = "
            f"{settings.env_kwargs['max_episode_steps']!r}; leave out one of the two"
        )
    read_wrappers(settings.wrap)
    read_goal(settings.stop_at)
    _check_learning(settings)
    _check_schedules(settings)


def check_episodes(settings: Any, longest: int) -> None:
    """Refuse to train on whole episodes if a rollout has no room for the longest.

    Args:
        settings: the settings.
        longest: steps of the longest episode; 0 if it is not known.

    Raises:
        UsageError: names both numbers.
    """
    if settings.risk_quantile and longest > settings.num_steps:
        raise UsageError(
            f"risk_quantile = {settings.risk_quantile} trains on episodes that lie inside a rollout, and an episode may have "
            f"{longest} steps; raise num_steps = {settings.num_steps} to several times that",
            page="text#risk-seeking",
        )


def _check_learning(settings: Any) -> None:
    """Refuse settings that leave the actor or the critic nothing to learn, or contradict each other on what the critic is."""
    if settings.critic_warmup * settings.batch_size >= settings.total_timesteps:
        raise UsageError(
            f"critic_warmup = {settings.critic_warmup} iterations of {settings.batch_size:,} rows may leave nothing of total_timesteps "
            f"= {settings.total_timesteps:,} to the actor; choose fewer iterations or a larger budget"
        )
    if settings.critic_warmup and not settings.vf_coef:
        raise UsageError(
            f"critic_warmup = {settings.critic_warmup} has no effect with vf_coef = 0, since the critic does not learn; leave it out"
        )
    if settings.norm_adv and settings.batch_size == settings.num_minibatches:
        raise UsageError(
            f"norm_adv leaves nothing of the advantage in a minibatch of one row; choose num_minibatches below {settings.batch_size}, or "
            "--no-norm-adv"
        )
    if settings.separate_critic and settings.feedforward_critic:
        raise UsageError(
            "separate_critic gives the critic a memory of its own and feedforward_critic none; choose one of the two"
        )


def _check_schedules(settings: Any) -> None:
    """Refuse schedules that contradict another setting, and numbers that adapt without a target."""
    own = {f.name: f.metadata["adaptive"] for f in dataclasses.fields(settings)}
    for name in (name for name, schedule in schedules(settings).items() if schedule.adapts):
        target = own[name].target
        if target and not getattr(settings, target):
            raise UsageError(f"{name} = adaptive needs a target; add --{target.replace('_', '-')} 0.01, for example")
    rate = settings.learning_rate
    if isinstance(rate, Schedule) and rate.adapts and settings.update_epochs * settings.num_minibatches == 1:
        raise UsageError(
            "learning_rate = adaptive has no effect with one optimizer step an iteration, before which the KL divergence is 0; "
            "raise update_epochs or num_minibatches"
        )
    if isinstance(rate, Schedule) and not rate.adapts and not settings.anneal_lr:
        raise UsageError(
            f"anneal_lr = False says that the learning rate is constant, but learning_rate = {rate} is a schedule; "
            "choose one number or leave out anneal_lr"
        )
    if settings.kl_target and (isinstance(settings.kl_coef, Schedule) or not settings.kl_coef):
        raise UsageError(
            f"kl_target = {settings.kl_target} adapts kl_coef from its value on, but kl_coef = {settings.kl_coef}; choose a positive "
            "number for kl_coef, or leave out kl_target"
        )
    if settings.target_entropy != "off" and (isinstance(settings.ent_coef, Schedule) or not settings.ent_coef):
        raise UsageError(
            f"target_entropy = {settings.target_entropy} adapts ent_coef from its value on, but ent_coef = {settings.ent_coef}; "
            "choose a positive number for ent_coef, 0.01 for example"
        )


def check_network(settings: Any, policy: str) -> None:
    """Refuse a setting that has no effect on a policy.

    Args:
        settings: the settings.
        policy: its name, after "auto" was resolved.

    Raises:
        UsageError: names the setting, and the policy that has it.
    """
    if policy in ("mlp", "cnn", "impala") and settings.convolutions not in ("cnn", policy):
        raise UsageError(
            f"convolutions = {settings.convolutions!r} has no effect on the {policy} policy; use --policy {settings.convolutions}"
        )


def check_actions(settings: Any, action_space: Space[Any]) -> None:
    """Refuse a setting that has no effect on the actions of a space.

    Raises:
        UsageError: names the setting and what the actions lack; or the space is not supported.
    """
    check_space(action_space, "action")
    factors = [factor for _, leaf in leaves(action_space) for factor in leaf.factors]
    for name, kind in _changed(settings, "acts_on"):
        if kind not in {kind for kind, _ in factors}:
            raise UsageError(f"{name} = {getattr(settings, name)!r} has no effect: {FACTORS[kind]}; leave out {name}")
    choices = [outputs for kind, outputs in factors if kind == "categorical"]
    likely = [min(outputs, settings.top_k or outputs) for outputs in choices]
    highest = sum(map(math.log, likely)) if len(choices) == len(factors) else math.inf  # entropy
    if settings.target_entropy != "off" and settings.target_entropy > highest:
        raise UsageError(
            f"target_entropy = {settings.target_entropy} cannot be reached: that of uniform actions is {highest:.3f} nats; choose less"
        )
    most = max(choices, default=settings.top_k)
    if settings.top_k > most:
        raise UsageError(f"top_k = {settings.top_k} has no effect, since an action has {most} choices; choose fewer")


def _changed(settings: Any, key: str) -> list[tuple[str, str]]:
    """Return (name, metadata[key]) of the settings with this metadata and another value than their default."""
    fields = [f for f in dataclasses.fields(settings) if f.metadata[key]]
    return [(f.name, f.metadata[key]) for f in fields if getattr(settings, f.name) != f.default]
