"""The arguments of Atari games: which are refused, since they would give other games than the published ones, or none."""

from typing import Any

from gymnasium.envs.registration import EnvSpec

from ppo.errors import UsageError

REFUSED = {
    "reward_clipping": "returns would be of clipped rewards; use --clip-rewards 1 instead, which clips them in training only",
    "episodic_life": "a game would begin anew with each life; a life's end ends the value already (life_loss_info); leave it out",
    "batch_size": "every environment is stepped each time; leave it out",
    "autoreset_mode": "it is SAME_STEP; leave it out",
}  # arguments of AtariVectorEnv, and why not
LEAST = {
    "stack_num": 1, "img_height": 1, "img_width": 1, "frameskip": 1, "max_num_frames_per_episode": 1, "max_episode_steps": 1,
    "noop_max": 0,
}  # fmt: skip


def check_game(spec: EnvSpec, kwargs: dict[str, Any]) -> None:
    """Refuse arguments that make another game than the id says.

    Raises:
        UsageError: names the argument.
    """
    if "game" in spec.kwargs:
        for name in ("game", "task"):  # ALE's and EnvPool's
            if kwargs.get(name, spec.kwargs["game"]) != spec.kwargs["game"]:
                raise UsageError(
                    f"{name} = {kwargs[name]!r} is another game than {spec.id}; leave it out, and train the other game by its id"
                )


def check_arguments(known: set[str], arguments: dict[str, Any]) -> None:
    """Refuse arguments that are unknown or out of range, or would give other games than the published ones.

    Args:
        known: names of arguments.
        arguments: by name.

    Raises:
        UsageError: names the first one.
    """
    for name in arguments:
        if name not in known:
            taken = ", ".join(sorted(known - {"game", *REFUSED}))
            raise UsageError(f"{name} is not an argument of Atari games; they take {taken}")
        if name in REFUSED and arguments[name]:
            raise UsageError(f"{name} = {arguments[name]!r} is refused: {REFUSED[name]}")
    sticky = arguments.get("repeat_action_probability", 0)
    if isinstance(sticky, int | float) and not 0 <= sticky <= 1:
        raise UsageError(f"repeat_action_probability = {sticky} is not a probability; choose 0 to 1")
    for name, least in LEAST.items():  # below them, ALE may hang
        if name in arguments and (type(arguments[name]) is not int or arguments[name] < least):
            raise UsageError(f"{name} = {arguments[name]!r} must be a whole number of at least {least}")
    if not isinstance(arguments["life_loss_info"], bool):
        raise UsageError(f"life_loss_info = {arguments['life_loss_info']!r} must be true or false")
