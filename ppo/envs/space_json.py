"""Spaces as JSON: how a checkpoint describes the observations and actions of its policy."""

from collections import OrderedDict
from typing import Any

from gymnasium.spaces import Dict, Space, Tuple
from gymnasium.vector import VectorEnv

from ppo.envs.critic_key import WithCritic
from ppo.envs.leaves import KINDS, leaf_of
from ppo.envs.spaces import is_nested, parts
from ppo.envs.text_env import text_env


def to_json(space: Space[Any]) -> dict[str, Any]:
    """Describe a supported space by plain JSON values; `from_json` is its inverse."""
    if is_nested(space):
        own = {"critic_key": space.critic_key} if isinstance(space, WithCritic) else {}
        name = "Dict" if isinstance(space, Dict) else "Tuple"
        return {"type": name, "spaces": [[key, to_json(part)] for key, part in parts(space)]} | own
    kind = next(kind for kind in KINDS if isinstance(space, kind))
    return {"type": kind.__name__, **leaf_of(space).to_json()}


def from_json(data: dict[str, Any]) -> Space[Any]:
    """Rebuild the space that `to_json` described."""
    if data["type"] == "Dict":
        space = Dict(OrderedDict((key, from_json(part)) for key, part in data["spaces"]))  # keeps the packing order
        return WithCritic(space, data["critic_key"]) if "critic_key" in data else space
    if data["type"] == "Tuple":
        return Tuple([from_json(part) for _, part in data["spaces"]])
    return next(leaf for kind, leaf in KINDS.items() if kind.__name__ == data["type"]).from_json(data)


def spaces_of(envs: VectorEnv) -> dict[str, Any]:
    """Describe by plain JSON values what a policy must fit: both spaces, and the symbols of a text environment."""
    single = {"obs": envs.single_observation_space, "action": envs.single_action_space}
    text = text_env(envs)
    symbols = {"symbols": list(text.vocabulary.symbols)} if text is not None else {}
    return {name: to_json(space) for name, space in single.items()} | symbols
