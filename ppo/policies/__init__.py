"""Policies: networks with one interface, chosen by name or by `package.module:Class`."""

import inspect
from typing import Any

from gymnasium.spaces import Space
from gymnasium.vector import VectorEnv

from ppo.envs.spaces import check_space, has_image
from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.machine.imports import import_name
from ppo.policies.base import Policy, orthogonal, tower
from ppo.policies.cnn import CNNPolicy, ImpalaPolicy
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features
from ppo.policies.gru import GRUPolicy
from ppo.policies.heads import Head
from ppo.policies.mlp import MLPPolicy
from ppo.policies.transformer import TransformerPolicy

__all__ = ["POLICIES", "Distribution", "Features", "Head", "Policy", "build_policy", "orthogonal", "tower"]

POLICIES: dict[str, type[Policy]] = {
    "mlp": MLPPolicy, "cnn": CNNPolicy, "impala": ImpalaPolicy, "gru": GRUPolicy, "transformer": TransformerPolicy,
}  # fmt: skip


def resolve_policy(name: str, envs: VectorEnv) -> str:
    """Return `name`; for "auto": gru for text, cnn if the observation has an image, else mlp."""
    if name != "auto":
        return name
    if text_env(envs) is not None:
        return "gru"
    return "cnn" if has_image(envs.single_observation_space) else "mlp"


def build_policy(name: str, obs_space: Space[Any], action_space: Space[Any], options: dict[str, Any]) -> Policy:
    """Build a policy by its name in POLICIES or by "package.module:Class".

    Raises:
        UsageError: the name is unknown, the class is not a Policy, or it cannot handle a space.
    """
    check_space(obs_space, "observation")
    cls = POLICIES[name] if name in POLICIES else _load_class(name)
    try:
        inspect.signature(cls).bind(obs_space, action_space, **options)
    except TypeError as error:
        raise UsageError(
            f"policy = {name!r} must accept (obs_space, action_space, **options) ({error})", "howto/policy#the-contract"
        ) from error
    return cls(obs_space, action_space, **options)


def _load_class(name: str) -> type[Policy]:
    if ":" not in name:
        raise UsageError(f"policy = {name!r} is unknown; choose auto, {', '.join(POLICIES)}, or package.module:Class")
    policy = import_name(name, "policy")
    if not (isinstance(policy, type) and issubclass(policy, Policy)):
        raise UsageError(f"policy = {name!r} is not a subclass of ppo.Policy", page="howto/policy#the-contract")
    return policy
