"""Saved policies: read a policy from a run's checkpoint, and make the environments it was trained for.

A run is data: a module that it names is imported only if this user made the run, or trusts its author.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gymnasium.spaces import Space
from gymnasium.vector import VectorEnv
from torch import Tensor

from ppo.config import Config
from ppo.config.setting import names, schedules
from ppo.config.words import override, read_wrappers
from ppo.envs import check_envs, make_envs
from ppo.envs.critic_key import WithCritic, actor_space, hide_critic, mark_critic
from ppo.envs.space_json import from_json, spaces_of, to_json
from ppo.errors import UsageError, one_line
from ppo.machine.flat import FlatPolicy
from ppo.machine.imports import check_trusted, only_trusted, trusting
from ppo.policies import Policy, build_policy
from ppo.run.checkpoint import checkpoint_path, load_exactly, read_checkpoint
from ppo.run.metadata import Metadata


@dataclass(frozen=True)
class Saved:
    """A policy with its spaces, its settings and the metadata of its checkpoint; it acts without what the critic alone sees."""

    policy: Policy
    obs_space: Space[Any]
    action_space: Space[Any]
    config: Config
    meta: Metadata
    run: Path
    trust: bool  # the caller trusts the author of the run
    reward_scale: dict[str, Tensor] = field(
        default_factory=dict
    )  # statistics of rewards by name, if the run scales them


def inherited(run: str, policy: str = "") -> dict[str, Any]:
    """Return the settings that a run takes over from the one whose weights it starts from.

    They are those of the network and of what it sees, which the weights need, and the discount with which the other run ended, which
    its values need.

    Args:
        run: the run's folder.
        policy: the name of a policy's class that the user has given, and which is trusted therefore.

    Raises:
        UsageError: see `load`.
    """
    tensors, meta = read_checkpoint(checkpoint_path(Path(run), "latest"))
    config = meta.settings().to_json()
    with only_trusted(run, meta["signed"], [policy]):
        module, colon, _ = config["policy"].partition(":")
        if colon:
            check_trusted(module, f"policy = {config['policy']!r}")
    network = {
        name: config[name] for name in (*names(Config, "network"), "resize", "critic_key") if name in meta["config"]
    }
    gamma = schedules(meta.settings())["gamma"]
    if gamma.adapts:
        return network | {"gamma": str(gamma.starting_at(round(float(tensors["adapted.gamma"]), 6)))}
    return network | {"gamma": gamma.at(1.0)}


def config_of(run: str | Path) -> Config:
    """Return the settings of a run's latest checkpoint.

    Raises:
        UsageError: see `load`.
    """
    return read_checkpoint(checkpoint_path(Path(run), "latest"))[1].settings()


def load_for(setting: str, run: str, spaces: dict[str, Any], **options: Any) -> Saved:
    """Load the latest policy of a run for an environment with these spaces.

    Args:
        setting: the setting that names the run, for the error.
        run: the run's folder.
        spaces: of the environment, as `spaces_of` returns them.
        options: see `load`.

    Raises:
        UsageError: see `load`; or the policy was trained with other spaces.
    """
    try:
        saved = load(run, told=True, **options)
    except UsageError as error:
        raise UsageError(f"{setting} = {run!r}: {error}") from error
    if saved.meta["spaces"] != spaces:
        raise UsageError(
            f"{setting} = {run!r} was trained on {saved.config.env_id}, which has other spaces or another vocabulary; "
            "choose a run of the same environment, with the same wrappers and size of images"
        )
    return saved


def load(run: str | Path, checkpoint: str = "latest", trust: bool = False, told: bool = False, **options: Any) -> Saved:
    """Load a run's policy, on the CPU.

    Args:
        run: the run's folder.
        checkpoint: "latest", "best" (by evaluation) or "iteration_000123".
        trust: import the modules that the run names, even if another person made it.
        told: observations have what the critic alone sees, as in training.
        options: settings to override; `temperature`, for example.

    Raises:
        UsageError: the folder is not a run, the checkpoint is missing or damaged, or the run needs trust.
    """
    path = checkpoint_path(Path(run), checkpoint)
    tensors, meta = read_checkpoint(path)
    config = meta.settings().replace(options)
    try:
        obs_space, action_space = (from_json(meta["spaces"][name]) for name in ("obs", "action"))
    except Exception as error:  # whatever Gymnasium raises, the file is at fault
        raise UsageError(f"{path} is damaged: its spaces cannot be read ({one_line(error)})") from error
    with trusting(trust), only_trusted(run, meta["signed"]):
        policy = _build(meta["policy"], obs_space, action_space, config, path)
    FlatPolicy(policy)  # same memory layout as in training, so that matrix products round identically
    load_exactly(policy, tensors, "policy.", path)
    if not told and actor_space(obs_space) is not obs_space:
        policy.features.act_alone(obs_space)
        obs_space = actor_space(obs_space)
    scale = {name: x for name, x in tensors.items() if name.startswith("scaler.")}
    return Saved(policy.eval(), obs_space, action_space, config, meta, Path(run), trust, scale)


def _build(name: str, obs_space: Space[Any], action_space: Space[Any], config: Config, path: Path) -> Policy:
    try:
        return build_policy(name, obs_space, action_space, config.policy_options())
    except UsageError:
        raise
    except Exception as error:
        if ":" in name and not name.startswith("ppo."):
            raise  # the user's own code
        raise UsageError(f"{path} describes a policy that cannot be built ({one_line(error)})") from error


def envs_for(
    saved: Saved, num_envs: int, env_kwargs: dict[str, Any] | None = None, render_mode: str | None = None
) -> VectorEnv:
    """Make the environments that a policy was trained for, with or without what the critic alone sees.

    Args:
        saved: the policy.
        num_envs: N.
        env_kwargs: keyword arguments that override those of the run's evaluations; None removes one.
        render_mode: as in Gymnasium.

    Raises:
        UsageError: their spaces are not the run's, the run needs trust, or it was trained on a VectorEnv passed from Python.
    """
    config, own = saved.config, (env_kwargs or {}).values()
    if saved.meta["own_envs"]:
        raise UsageError(
            "the run was trained on a VectorEnv of your own; use load_policy(run).act from Python",
            page="environments#your-own-vectorenv",
        )
    kwargs = override(config.env_kwargs, config.eval_env_kwargs, env_kwargs or {})
    with trusting(saved.trust), only_trusted(saved.run, saved.meta["signed"], own):
        envs = make_envs(
            config.env_id, num_envs, config.vectorization, kwargs, render_mode=render_mode,
            wrappers=read_wrappers(config.wrap), max_episode_steps=config.max_episode_steps,
        )  # fmt: skip
        envs = check_envs(envs, log_info=config.log_info, resize=config.resize)
    spaces = saved.meta["spaces"]
    key = spaces["obs"].get("critic_key", "")
    envs = mark_critic(envs, key) if isinstance(saved.obs_space, WithCritic) else hide_critic(envs, key)
    if spaces_of(envs) != spaces | {"obs": to_json(saved.obs_space)}:
        envs.close()
        raise UsageError(f"{config.env_id} has other spaces or another vocabulary than the policy was trained with")
    return envs
