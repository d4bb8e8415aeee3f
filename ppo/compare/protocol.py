"""The protocol of Atari runs: clipping, lives, sticky actions, skipped frames. Two runs of a game may differ in it."""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from ppo.errors import UsageError

STICKY = 0.25  # of ALE/…-v5 and of …-v0; …NoFrameskip-v4 and EnvPool have none


class Protocol(NamedTuple):
    """What an Atari run does, each in words; "" if it is unknown."""

    returns: str
    clipping: str
    lives: str
    actions: str
    frames: str


def published(env_id: str) -> Protocol:
    """Return the protocol of a published figure: it depends on the id alone (Mnih et al. 2015; Machado et al. 2018)."""
    return _protocol(STICKY if _is_sticky(env_id) else 0.0)


def of_run(env_id: str, settings: Mapping[str, str]) -> Protocol:
    """Return the protocol of a run, as far as its settings tell it; of another library's run, the sticky actions only.

    Args:
        env_id: of Gymnasium.
        settings: by name, as text.

    Raises:
        UsageError: a setting cannot be read.
    """
    sticky = STICKY if _is_sticky(env_id) else 0.0
    if "env_kwargs" not in settings:
        return Protocol("", "", "", _protocol(sticky).actions, "")
    try:
        kwargs: dict[str, Any] = dict(ast.literal_eval(settings["env_kwargs"]))
        own = _protocol(
            float(kwargs.get("repeat_action_probability", sticky)), float(settings.get("clip_rewards", 0)),
            bool(kwargs.get("life_loss_info", "clip_rewards" in settings)), int(kwargs.get("frameskip", kwargs.get("frame_skip", 4))),
        )  # fmt: skip
    except (SyntaxError, TypeError, ValueError) as error:
        text = f"env_kwargs = {settings['env_kwargs']}, clip_rewards = {settings.get('clip_rewards', 'none')}"
        raise UsageError(f"the settings of a run of {env_id} cannot be read: {text}") from error
    if "clip_rewards" not in settings and env_id.startswith("ALE/") and kwargs.get("reward_clipping", True):
        # Versions before that setting left ALE's own clipping on.
        own = own._replace(returns="returns are sums of clipped rewards", clipping="training clips rewards to ± 1")
    return own


def differences(ours: Protocol, theirs: Protocol) -> list[tuple[str, str]]:
    """Return what differs, as (ours, theirs) in words; what is unknown on one side does not count."""
    return [(a, b) for a, b in zip(ours, theirs, strict=True) if a and b and a != b]


def _is_sticky(env_id: str) -> bool:
    return env_id.startswith("ALE/") or env_id.endswith("-v0")


def _protocol(sticky: float, clip: float = 1.0, lives: bool = True, skip: int = 4) -> Protocol:
    return Protocol(
        "returns are raw",
        f"training clips rewards to ± {clip:g}" if clip else "training does not clip rewards",
        "the end of a life ends the value" if lives else "values run on after the end of a life",
        f"the last action repeats with probability {sticky:g} (sticky actions)" if sticky else "no sticky actions",
        f"{skip} frames a decision",
    )
