"""The lives of a game: the end of one ends the value, but not the episode."""

from typing import Any

import numpy as np


class Lives:
    """The lives of N games: the end of one ends the value, and FIRE begins the next.

    Args:
        end_values: the end of a life ends the value.
        fire: the action that begins the next life in place of the policy's, as in Stable-Baselines' and EnvPool's wrappers, where
            many games wait for it; None: the policy decides.
    """

    def __init__(self, end_values: bool = True, fire: int | None = None) -> None:
        self.end_values, self.fire = end_values, fire

    def begin(self, lives: np.ndarray) -> None:
        """Take over the lives (N,) after a reset."""
        self.now, self.fires = lives, np.zeros(len(lives), bool)

    def press(self, actions: Any) -> Any:
        """Return actions (N,) with FIRE where a life begins."""
        return np.where(self.fires, self.fire, actions) if self.fires.any() else actions

    def marks(self, lives: np.ndarray, done: np.ndarray) -> dict[str, np.ndarray]:
        """Return the marks of a step, (N,) bool each.

        Some games show 0 lives for a few frames before they end, which is the end of the game.

        Args:
            lives: (N,) after it; where the game has ended, perhaps those of the next one.
            done: (N,) bool, the game has ended.
        """
        lost = (lives < self.now) & (lives > 0) & ~done & self.end_values
        self.now, self.fires = lives, lost & (self.fire is not None)
        return {"value_ends": lost, "valid": ~self.fires}
