"""A scenario as ViZDoom shows it."""

from stand_in import StandIn, screen


class Scenario(StandIn):
    def __init__(self, frame_skip: int = 1):
        assert frame_skip >= 1
        super().__init__(screen(), 4)
