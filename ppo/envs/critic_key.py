"""The critic's key: a part of the observation that the critic alone sees, so that no policy needs it to act."""

import difflib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from gymnasium.spaces import Dict, Space
from gymnasium.vector import VectorEnv, VectorWrapper

from ppo.envs.fits import MASK_KEY
from ppo.envs.spaces import is_nested, leaves, one_line, parts
from ppo.errors import UsageError

CRITIC_KEY = "critic"
PAGE = "environments#a-critic-that-sees-more"


class WithCritic(Dict):
    """A Dict of observations in which the critic alone sees what is under one key, at any depth.

    Args:
        space: the Dict.
        key: the critic's.
    """

    def __init__(self, space: Dict, key: str) -> None:
        super().__init__(OrderedDict(space.spaces))  # which keeps the packing order
        self.critic_key = key


class Declared(VectorWrapper):
    """Environments whose observations are read as those of another space; parts that it lacks are not read.

    Args:
        env: the environments.
        space: of one observation.
    """

    def __init__(self, env: VectorEnv, space: Space[Any]) -> None:
        super().__init__(env)
        self.single_observation_space = space


def mark_critic(envs: VectorEnv, key: str) -> VectorEnv:
    """Return envs whose space says what the critic alone sees; envs themselves where nothing is.

    Args:
        envs: from `check_envs`.
        key: of a Dict in the observation; CRITIC_KEY may be absent; "": every part is for actor and critic.

    Raises:
        UsageError: there is no such key, or nothing besides it.
    """
    space = envs.single_observation_space
    keys = list(_keys(space))
    if key not in keys:
        if key in ("", CRITIC_KEY):
            return envs
        near = difflib.get_close_matches(key, keys, n=3) or keys
        hint = f"choose {' or '.join(near)}" if near else "leave out critic_key, or return a Dict"
        raise UsageError(
            f"critic_key = {key!r} is not a key of a Dict in the observation space {one_line(space)}; {hint}", PAGE
        )
    assert isinstance(space, Dict), "no other space has keys"
    marked = WithCritic(space, key)
    if all(path.split(".")[0] == MASK_KEY for path, _ in leaves(actor_space(marked))):
        raise UsageError(
            f"the observation space {one_line(space)} has nothing but the part {key!r}, which the critic alone sees; add what "
            'the policy acts on, or use --critic-key ""',
            PAGE,
        )
    return Declared(envs, marked)


def hide_critic(envs: VectorEnv, key: str) -> VectorEnv:
    """Return envs without what the critic alone sees, as a policy acts on them; envs themselves if they lack the key."""
    space = envs.single_observation_space
    return Declared(envs, actor_space(WithCritic(space, key))) if key in _keys(space) else envs  # type: ignore[arg-type]


def _keys(space: Space[Any]) -> Iterator[str]:
    """Yield the keys of a Dict and of the Dicts in it."""
    for key, part in parts(space) if isinstance(space, Dict) else ():
        yield key
        yield from _keys(part)


def actor_space(space: Space[Any]) -> Space[Any]:
    """Return the space of what the actor sees: without the part for the critic alone, if there is one."""
    return _without(space, space.critic_key) if isinstance(space, WithCritic) else space


def _without(space: Space[Any], key: str) -> Space[Any]:
    if not isinstance(space, Dict):
        return space
    return Dict(OrderedDict((name, _without(part, key)) for name, part in parts(space) if name != key))


def critic_leaves(space: Space[Any]) -> list[bool]:
    """Return for each leaf, in packing order, whether the critic alone sees it."""
    return list(_inside(space, getattr(space, "critic_key", None), False))


def _inside(space: Space[Any], key: str | None, inside: bool) -> Iterator[bool]:
    for name, part in parts(space):
        yield from _inside(part, key, inside or (name == key and isinstance(space, Dict)))
    if not is_nested(space):
        yield inside


def critic_note(space: Space[Any]) -> str:
    """Return which parts of an observation the critic alone sees; "" if there are none."""
    told = zip(leaves(space), critic_leaves(space), strict=True)
    return ", ".join(f"{path} {leaf.shape} {leaf.dtype}" for (path, leaf), alone in told if alone)
