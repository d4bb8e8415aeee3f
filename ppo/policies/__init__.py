"""Policies: networks behind one contract, chosen by name or by `package.module:Class`."""

import importlib
from typing import Any

from gymnasium.spaces import Space
from gymnasium.vector import VectorEnv

from ppo.envs.spaces import check_observation_space, leaves
from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.policies.base import Policy, orthogonal, tower
from ppo.policies.cnn import CNNPolicy
from ppo.policies.distributions import Distribution
from ppo.policies.features import Features, is_image
from ppo.policies.gru import GRUPolicy
from ppo.policies.heads import Head
from ppo.policies.mlp import MLPPolicy
from ppo.policies.transformer import TransformerPolicy

__all__ = ["POLICIES", "Distribution", "Features", "Head", "Policy", "build_policy", "orthogonal", "tower"]

POLICIES: dict[str, type[Policy]] = {
    "mlp": MLPPolicy, "cnn": CNNPolicy, "gru": GRUPolicy, "transformer": TransformerPolicy,
}  # fmt: skip


def resolve_policy(name: str, envs: VectorEnv) -> str:
    """Return `name`, or what "auto" stands for: gru for text, cnn where the observation holds an image, else mlp."""
    if name != "auto":
        return name
    if text_env(envs) is not None:
        return "gru"
    return "cnn" if any(is_image(leaf) for _, leaf in leaves(envs.single_observation_space)) else "mlp"


def build_policy(name: str, obs_space: Space[Any], action_space: Space[Any], options: dict[str, Any]) -> Policy:
    """Build a policy by name, one of POLICIES, or by "package.module:Class".

    Raises:
        UsageError: an unknown name, a class that is no Policy, or a space it cannot handle.
    """
    check_observation_space(obs_space)
    return (POLICIES[name] if name in POLICIES else _load_class(name))(obs_space, action_space, **options)


def _load_class(name: str) -> type[Policy]:
    module, _, attribute = name.partition(":")
    if not module or module.startswith(".") or not attribute:
        raise UsageError(f"policy = {name!r} is unknown; choose auto, {', '.join(POLICIES)}, or package.module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise UsageError(f"policy = {name!r}: there is no module {error.name}; is it on PYTHONPATH?") from error
    if found is None:
        raise UsageError(f"policy = {name!r}: module {module} has no {attribute}")
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise UsageError(f"policy = {name!r} is no subclass of ppo.Policy")
    return found
