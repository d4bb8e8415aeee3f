"""Any VectorEnv, also one of the user's own: what the loop needs to know of it, checked before the first step."""

from typing import Any

import gymnasium
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from ppo.envs.action_mask import expose_mask
from ppo.envs.atari import check_games
from ppo.envs.copies import SyncCopies
from ppo.envs.fits import MARKS, MASK_KEY, max_episode_steps, opt_in
from ppo.envs.resize import Resize
from ppo.envs.reuse import check_reuse
from ppo.envs.text_env import text_env
from ppo.envs.workers import Workers
from ppo.errors import UsageError

RESERVED = {*MARKS, MASK_KEY, "final_obs", "final_info", "episodic_return", "episodic_length"}  # not names of metrics


def check_envs(envs: VectorEnv, group_size: int = 1, log_info: tuple[str, ...] = (), resize: int = 0) -> VectorEnv:
    """Check environments, and put their action mask, if there is one, into the observation.

    The caller's object stays as it is, but for a reset; what is added is in wrappers around it.

    Args:
        envs: from `make_envs`, or the user's own.
        group_size: number of neighbouring environments that must share a prompt.
        log_info: names of numbers to log from the last info of an episode, besides those that the metadata names.
        resize: height and width to which larger images are made smaller; 0: as they are.

    Raises:
        UsageError: it is not a complete VectorEnv, the autoreset mode is missing, the groups have another size, or there is
            nothing to resize.
    """
    check_vector_env(envs)
    check_games(envs)
    autoreset_mode(envs)
    text = text_env(envs)
    actual = 1 if text is None else text.group_size
    if actual != group_size:
        raise UsageError(
            f"group_size = {group_size}, but the environments were made with group_size = {actual}; use the same value"
        )
    envs = expose_mask(check_reuse(_declare_metrics(envs, log_info)))
    return Resize(envs, resize) if resize else envs


def check_vector_env(envs: Any) -> None:
    """Check that something is a VectorEnv with its attributes.

    Raises:
        UsageError: it is a single environment, something else, an attribute is missing, or it has no environments.
    """
    name = type(envs).__name__
    if isinstance(envs, gymnasium.Env):
        raise UsageError(
            f"{name} is a single environment; give gymnasium.vector.SyncVectorEnv([make, make, …]) of it",
            page="environments#your-own-vectorenv",
        )
    if not isinstance(envs, VectorEnv):
        raise UsageError(
            f"{name} is not a gymnasium.vector.VectorEnv; make it a subclass", page="environments#your-own-vectorenv"
        )
    if not isinstance(getattr(envs, "num_envs", None), int):
        raise UsageError(f"{name} has no num_envs; set it to the number of its environments")
    if envs.num_envs < 1:
        raise UsageError(f"{name}.num_envs = {envs.num_envs} is too small; it must have at least 1 environment")
    for attribute in ("single_observation_space", "single_action_space"):
        if not isinstance(getattr(envs, attribute, None), Space):
            raise UsageError(f"{name} has no {attribute}; set it to the space of one of its environments")


def _declare_metrics(envs: VectorEnv, log_info: tuple[str, ...]) -> VectorEnv:
    """Return envs with `log_info` among the names in the metadata; our own copies return nothing else of an info."""
    declared, base = opt_in(envs.metadata), envs.unwrapped
    names = tuple(dict.fromkeys((*declared["metrics"], *log_info)))
    for name in names:
        if name in RESERVED or not name.strip():
            raise UsageError(
                f"{name!r} cannot be logged from the info, because it means something else; rename it",
                page="environments#infos",
            )
    if isinstance(base, SyncCopies | Workers):
        base.set_attr("metrics", [names] * base.num_envs)
    if log_info:
        metadata = envs.metadata | {"ppo": declared | {"metrics": names}}
        envs = VectorWrapper(envs)
        envs.metadata = metadata
    return envs


def autoreset_mode(envs: VectorEnv) -> AutoresetMode:
    """Return how a VectorEnv resets environments after an episode.

    Raises:
        UsageError: `metadata["autoreset_mode"]` is missing or unknown; a wrong guess would corrupt the advantages.
    """
    mode = envs.metadata.get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError as error:
        other = (
            "" if envs.unwrapped.spec is None else ", or use --vectorization sync"
        )  # not for an object of the caller's
        raise UsageError(
            f"{type(envs.unwrapped).__name__}.metadata['autoreset_mode'] is {mode!r}; set it to the "
            f"gymnasium.vector.AutoresetMode that its step() follows{other}",
            page="environments#autoreset",
        ) from error


def time_limit(envs: VectorEnv) -> int:
    """Return the number of steps after which an environment truncates an episode, 0 if it has no limit."""
    base = envs.unwrapped
    if isinstance(base, SyncVectorEnv):
        return max_episode_steps(base.envs[0])
    return max(0, (base.spec.max_episode_steps if base.spec is not None else None) or 0)


def notes(envs: VectorEnv, gamma: float) -> list[str]:
    """Return what a user should know of environments that are trained with a discount, in sentences."""
    return [note for note in (dropped_note(envs), horizon_note(envs, gamma)) if note]


def horizon_note(envs: VectorEnv, gamma: float) -> str:
    """Return a sentence if values look further ahead than an episode is long, and a discount that does not; "" if they do not."""
    limit = time_limit(envs)
    if not limit or gamma == 1 or round(1 / (1 - gamma)) <= limit:
        return ""
    return (
        f"gamma = {gamma:g} looks 1 / (1 - gamma) = {1 / (1 - gamma):.0f} steps ahead, and episodes are truncated after {limit}: values "
        f"bootstrap there from states that no rollout goes on from; try --gamma {max(1 - 2 / limit, 0):.3g}, for half of the limit"
    )


def dropped(envs: VectorEnv) -> tuple[str, ...]:
    """Return the parts of the environment's observation, texts, that our copies of it leave out."""
    base = envs.unwrapped
    return base.get_attr("dropped")[0] if isinstance(base, SyncCopies | Workers) else ()


def dropped_note(envs: VectorEnv) -> str:
    """Return a sentence about the texts that our copies leave out of the observation; "" if there are none."""
    texts = dropped(envs)
    return f"{', '.join(texts)} of the observation is text, which no policy reads; it is left out" if texts else ""


def lines_of(envs: VectorEnv) -> list[str]:
    """Return a line for each sample of a text environment; of others, none."""
    text = text_env(envs)
    return [] if text is None else list(text.render())
