"""Resizing: large images of an observation become smaller when it is packed, in training, in evaluation and after export."""

from collections import OrderedDict
from typing import Any

from gymnasium.spaces import Box, Dict, Space, Tuple
from gymnasium.vector import VectorEnv, VectorWrapper

from ppo.envs.images import SMALL, Resized, image_of
from ppo.envs.spaces import one_line
from ppo.errors import UsageError


class Resize(VectorWrapper):
    """Declare that packing makes images smaller; the environments themselves return them as they are.

    So the memory of a rollout is that of small images, and the policy takes the environment's own observations.

    Args:
        env: the environments.
        side: height and width of the smaller images.

    Raises:
        UsageError: no image is larger than that, or it is too small for convolutions.
    """

    def __init__(self, env: VectorEnv, side: int) -> None:
        super().__init__(env)
        if side < SMALL:
            raise UsageError(
                f"resize = {side} is too small; choose {SMALL} or more, 84 for example", page="environments#images"
            )
        space = env.single_observation_space
        self.single_observation_space = resized(space, side)
        if self.single_observation_space == space:
            raise UsageError(
                f"resize = {side} has no effect: the observation space {one_line(space)} has no image larger than {side} x "
                f"{side}; leave out resize",
                page="environments#images",
            )


def resized(space: Space[Any], side: int) -> Space[Any]:
    """Return a space whose larger images are of these sides once they are packed."""
    if isinstance(space, Dict):
        return Dict(OrderedDict((key, resized(part, side)) for key, part in space.spaces.items()))
    if isinstance(space, Tuple):
        return Tuple([resized(part, side) for part in space.spaces])
    image = image_of(space) if isinstance(space, Box) else None
    return Resized(space, side) if image is not None and max(image.shape[1:]) > side else space  # type: ignore[arg-type]
