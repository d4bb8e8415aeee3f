"""Policies: networks with one interface, chosen by name or by `package.module:Class`."""

import inspect
from typing import Any

import torch
from gymnasium.spaces import Space
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from ppo.envs.critic_key import PAGE, WithCritic, actor_space
from ppo.envs.spaces import Packer, check_space, has_image
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
    return "cnn" if has_image(actor_space(envs.single_observation_space)) else "mlp"


def build_policy(name: str, obs_space: Space[Any], action_space: Space[Any], options: dict[str, Any]) -> Policy:
    """Build a policy by its name in POLICIES or by "package.module:Class".

    Raises:
        UsageError: the name is unknown, the class is not a Policy, or it cannot handle a space or what the critic alone sees.
    """
    check_space(obs_space, "observation")
    cls = POLICIES[name] if name in POLICIES else _load_class(name)
    try:
        inspect.signature(cls).bind(obs_space, action_space, **options)
    except TypeError as error:
        raise UsageError(
            f"policy = {name!r} must accept (obs_space, action_space, **options) ({error})", "howto/policy#the-contract"
        ) from error
    policy = cls(obs_space, action_space, **options)
    if isinstance(obs_space, WithCritic):
        check_critic(policy, name, obs_space)
    return policy


@torch.enable_grad()
@torch.random.fork_rng([])
def check_critic(policy: Policy, name: str, obs_space: WithCritic) -> None:
    """Refuse a policy whose values do not depend on what the critic alone sees, or whose actions do.

    Raises:
        UsageError: it is such a policy.
    """
    told = list[Tensor]()  # the features of what the critic alone sees

    def watch(module: nn.Module, arguments: Any, output: tuple[Tensor, None]) -> tuple[Tensor, None]:
        told.append(output[0].detach().requires_grad_())
        return told[-1], None

    part, features = f"what the critic alone sees, the key {obs_space.critic_key!r}", getattr(policy, "features", None)
    if isinstance(features, Features) and features.critic is not None:
        packer, begin = Packer(obs_space), torch.ones(1, 1, dtype=torch.bool)
        obs = packer.join([leaf.examples(1) for _, leaf in packer.leaves]).unsqueeze(0)
        handle = features.critic.register_forward_hook(watch)
        dist, values, _ = policy(obs, policy.initial_state(1), begin)
        handle.remove()
        log_prob = dist.log_prob(dist.sample(policy.head.noise(1, 1, deterministic=True)))
        if told and _depends(log_prob + dist.entropy(), told):
            raise UsageError(f"the actor of policy = {name!r} reads {part}; only its values may depend on it", PAGE)
        if told and _depends(values, told):
            return
    raise UsageError(
        f"policy = {name!r} does not read {part}; let its forward compute values from features.for_critic(x, obs), or use "
        '--critic-key "" to show the key to the actor as well',
        PAGE,
    )


def _depends(output: Tensor, inputs: list[Tensor]) -> bool:
    gradients = torch.autograd.grad(output.sum(), inputs, retain_graph=True, allow_unused=True)
    return any(x is not None for x in gradients)


def _load_class(name: str) -> type[Policy]:
    if ":" not in name:
        raise UsageError(f"policy = {name!r} is unknown; choose auto, {', '.join(POLICIES)}, or package.module:Class")
    policy = import_name(name, "policy")
    if not (isinstance(policy, type) and issubclass(policy, Policy)):
        raise UsageError(f"policy = {name!r} is not a subclass of ppo.Policy", page="howto/policy#the-contract")
    return policy
