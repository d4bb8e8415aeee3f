"""Probes: tiny environments whose values and best actions are known, registered as `probes:Name-v0`."""

import sys
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Space, Text, Tuple


class Probe(gymnasium.Env):
    """An episode of `length` steps; a subclass says what is seen and what is paid."""

    observation_space: Space[Any] = Discrete(2)
    action_space: Space[Any] = Discrete(2)
    length = 1
    truncates = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.first = 0, 0
        return self.see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(self.pay(action))
        self.time += 1
        ended = self.time == self.length
        return self.see(), reward, ended and not self.truncates, ended and self.truncates, {}

    def see(self) -> Any:
        return 0

    def pay(self, action: Any) -> float:
        return 1.0


class Constant(Probe):
    """Pays 1 at every step. Cut by a truncation, V = 1/(1 − γ); ended, V(t) = Σ γᵏ over the steps left.

    The clock is seen only where it matters to V; the cut one looks the same at every step, its last included.
    """

    def __init__(self, length: int = 10, truncates: bool = True) -> None:
        self.length, self.truncates = length, truncates
        self.observation_space = Discrete(length + 1)

    def see(self) -> int:
        return 0 if self.truncates else self.time


class Late(Probe):
    """Pays 1 at every step but the first, which it shows; only ever cut. V(0) = γ/(1 − γ) and V(1) = 1/(1 − γ)."""

    length = 5
    truncates = True

    def see(self) -> int:
        return int(self.time > 0)

    def pay(self, action: Any) -> float:
        return float(self.time > 0)


class Bandit(Probe):
    """One step; action 1 pays 1, action 0 nothing. V of the best policy is 1."""

    def pay(self, action: Any) -> float:
        return float(action == 1)


class Risky(Probe):
    """Arm 1 pays 1 in a fifth of the episodes, 0.2 on average; arm 0 always pays 0.5."""

    def pay(self, action: Any) -> float:
        return float(self.np_random.random() < 0.2) if action else 0.5


class Sign(Probe):
    """One step; pays the observation, −1 or 1. V(obs) = obs."""

    observation_space = Box(-1.0, 1.0, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.sign = float(self.np_random.choice([-1.0, 1.0]))
        return self.see(), {}

    def see(self) -> np.ndarray:
        return np.array([getattr(self, "sign", 0.0)], np.float32)

    def pay(self, action: Any) -> float:
        return self.sign


class Match(Sign):
    """One step; pays 1 for action 0 at observation −1 and action 1 at observation 1. V of the best policy is 1."""

    def pay(self, action: Any) -> float:
        return float(action == (self.sign > 0))


class Delayed(Probe):
    """Two steps, only the second pays 1. V(0) = γ and V(1) = 1."""

    observation_space = Discrete(3)
    length = 2

    def see(self) -> int:
        return self.time

    def pay(self, action: Any) -> float:
        return float(self.time == 1)


class Credit(Delayed):
    """Two steps; the second pays 1 if the first action was 1, and does not show which it was. V(0) = γ, V(1) = 1."""

    def pay(self, action: Any) -> float:
        if self.time == 0:
            self.first = int(action)
            return 0.0
        return float(self.first == 1)


class Endless(Probe):
    """Pays 1 at every step and never ends."""

    length = -1


class Faulty(Probe):
    """Pays `reward`, by its text ("nan", "3e38"), at step `at` of the environment's life, and 1 before."""

    length = 4

    def __init__(self, reward: str = "nan", at: int = 20) -> None:
        self.reward, self.left = float(reward), at

    def pay(self, action: Any) -> float:
        self.left -= 1
        return self.reward if self.left == -1 else 1.0


class Raising(Probe):
    """Raises ValueError at the step number `at` of all its instances together."""

    length = 4
    at = 5
    calls = 0

    def pay(self, action: Any) -> float:
        Raising.calls += 1
        if Raising.calls == self.at + 1:
            raise ValueError("the environment broke")
        return 1.0


class Wordy(Probe):
    """Has a part in its observation that no policy reads."""

    observation_space = Dict({"number": Discrete(2), "words": Tuple([Text(4), Discrete(2)])})

    def see(self) -> Any:
        return {"number": 0, "words": ("four", 0)}


class Zoo(Probe):
    """Random observations of a space and rewards that depend on the action; remembers (observation, action)."""

    SPACES: ClassVar[dict[str, tuple[Space[Any], Space[Any]]]] = {
        "discrete": (Box(-1.0, 1.0, (3,)), Discrete(3)),
        "start": (Discrete(4, start=-2), Discrete(3, start=5)),
        "box": (Box(100.0, 300.0, (3,)), Box(np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))),
        "dict": (
            Dict({"z": Box(-1.0, 1.0, (2, 2)), "a": Discrete(3, start=1)}),
            Dict({"move": Discrete(3, start=1), "push": Tuple([Box(-2.0, 2.0, (2,)), MultiBinary(2)])}),
        ),
    }
    length = 5

    def __init__(self, kind: str = "discrete") -> None:
        self.observation_space, self.action_space = self.SPACES[kind]
        self.seen: list[tuple[Any, Any, bool]] = []  # (observation, action, whether it began an episode)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.observation_space.seed(seed)
        return super().reset(seed=seed)

    def see(self) -> Any:
        self.obs = self.observation_space.sample()
        return self.obs

    def pay(self, action: Any) -> float:
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        self.seen.append((self.obs, action, self.time == 0))
        first = np.ravel(next(iter(action.values())) if isinstance(action, dict) else action)[0]
        return float(first) * (1.0 if self.time % 2 else -1.0)


class Reusing(Probe):
    """Shows the number of the step, always in the same array; only cut, after 5 steps. Action 1 is never allowed."""

    observation_space = Box(0.0, 99.0, (1,), np.float32)
    length = 5
    truncates = True

    def __init__(self) -> None:
        self.array = np.zeros(1, np.float32)

    def see(self) -> np.ndarray:
        self.array[:] = self.time
        return self.array

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return *super().step(action)[:4], {"steps": self.time, "torch": "torch" in sys.modules}

    def pay(self, action: Any) -> float:
        assert action == 0, "action 1 is masked"
        return 1.0

    def action_masks(self) -> np.ndarray:
        return np.array([True, False])


for found in (
    Constant,
    Late,
    Bandit,
    Risky,
    Sign,
    Match,
    Delayed,
    Credit,
    Endless,
    Faulty,
    Raising,
    Wordy,
    Zoo,
    Reusing,
):
    gymnasium.register(f"{found.__name__}-v0", entry_point=found)
