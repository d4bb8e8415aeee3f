"""The games with their minimal actions, as MinAtar registers them."""

import gymnasium
from stand_in import StandIn, pixels

CHANNELS_AND_ACTIONS = {
    "Asterix": (4, 5),
    "Breakout": (4, 3),
    "Freeway": (7, 3),
    "Seaquest": (10, 6),
    "SpaceInvaders": (6, 4),
}


class BaseEnv(StandIn):
    def __init__(self, game: str):
        channels, actions = CHANNELS_AND_ACTIONS[game]
        super().__init__(pixels(10, 10, channels, high=1, dtype=bool), actions)


def register_envs() -> None:
    for game in CHANNELS_AND_ACTIONS:
        gymnasium.register(f"MinAtar/{game}-v1", entry_point="minatar.gym:BaseEnv", kwargs={"game": game})
