"""Several agents that share one policy: a PettingZoo environment, in which each agent has a place of its own."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Dict, MultiBinary, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from ppo.envs.critic_key import CRITIC_KEY
from ppo.envs.fits import MASK_KEY, is_number, misfit, short
from ppo.envs.spaces import one_line, take
from ppo.errors import UsageError

PAGE = "environments#several-agents"
NAMED = 10  # agents, up to which each agent's return is logged


class Agents(VectorEnv):
    """Copies of an environment of A agents; place n is agent n mod A of copy n // A.

    All places of a copy end together, when no agent is left, and begin again in the same step (SAME_STEP). An agent that is
    gone before has rows that are not decisions, with its last observation. It was terminated if PettingZoo said so, which ends its
    value at once; otherwise truncated.

    Args:
        make: makes a parallel environment.
        num_envs: places, rounded up to whole copies.
        env_id: for messages.
        shared: observations have the key `critic`, with the observations of all agents.

    Raises:
        UsageError: the agents are not known in advance, or have different spaces.
    """

    def __init__(self, make: Callable[[], Any], num_envs: int, env_id: str, shared: bool) -> None:
        first = make()
        self.agents: tuple[str, ...] = tuple(getattr(first, "possible_agents", ()))
        if not self.agents:
            raise UsageError(
                f"{env_id} does not say which agents it may have (possible_agents); it cannot be trained", PAGE
            )
        self.copies = [first, *(make() for _ in range(math.ceil(num_envs / len(self.agents)) - 1))]
        self.num_envs = len(self.copies) * len(self.agents)
        self.own, self.single_action_space = _alike(first, self.agents, env_id)
        self.shared = shared
        self.single_observation_space = with_critic(self.own, self.agents) if shared else self.own
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metrics = tuple(f"return_{agent}" for agent in self.agents) if len(self.agents) <= NAMED else ()
        declared = {"valid": True, "value_ends": True, "metrics": ("team_return", *self.metrics)}
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "ppo": declared}
        self.render_mode = getattr(first, "render_mode", None)
        self.seen: list[Any] = [None] * self.num_envs  # the last observation of each place
        self.terminated = np.zeros(self.num_envs, bool)  # so far in the episode
        self.returns = np.zeros(self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes; copy c gets the seed of its first place, `seed` + c · A."""
        for c in range(len(self.copies)):
            self._begin(c, None if seed is None else seed + c * len(self.agents), options)
        return self._obs(), {"valid": self._valid()}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step each copy with the actions of those of its agents that are there."""
        chosen = list(iterate(self.action_space, actions))
        rewards, (over, value_ends) = np.zeros(self.num_envs), np.zeros((2, self.num_envs), bool)
        for c, copy in enumerate(self.copies):
            places = self._places(c)
            own = {agent: chosen[n] for n, agent in places if agent in copy.agents}
            observations, earned, terminations, truncations, _ = copy.step(own)
            self._see(places, observations)
            for n, agent in places:
                if agent in own:
                    self._check(agent, observations, reward=earned, termination=terminations, truncation=truncations)
                    rewards[n], value_ends[n] = earned[agent], terminations[agent]
            over[[n for n, _ in places]] = not copy.agents
        self.returns += rewards
        self.terminated |= value_ends
        terminated, truncated = over & self.terminated, over & ~self.terminated
        infos: dict[str, Any] = {}
        if over.any():
            infos |= self._metrics() | {"final_obs": self._obs(), "_final_obs": over}
            for c in np.unique(np.flatnonzero(over) // len(self.agents)).tolist():
                self._begin(c)
        return self._obs(), rewards, terminated, truncated, infos | {"valid": self._valid(), "value_ends": value_ends}

    def _check(self, agent: str, observations: dict[str, Any], **numbers: dict[str, Any]) -> None:
        """Refuse a step that does not answer an agent that acted; one that is terminated needs no observation.

        Raises:
            UsageError: names the agent.
        """
        for name, given in numbers.items():
            if not is_number(given.get(agent)):
                raise UsageError(
                    f"the agent {agent} acted, and step() returned {name} = {short(given.get(agent))} for it; it must be one number",
                    PAGE,
                )
        if agent not in observations and not numbers["termination"][agent]:
            raise UsageError(f"the agent {agent} acted, and step() returned no observation for it", PAGE)

    def _see(self, places: list[tuple[int, str]], observations: dict[str, Any]) -> None:
        """Take over what the agents of a copy observe; one without an observation keeps its last."""
        for n, agent in places:
            if agent in observations:
                if problem := misfit(self.own, observations[agent]):
                    raise UsageError(
                        f"the agent {agent} got an observation that does not fit its space: {problem}", PAGE
                    )
                self.seen[n] = observations[agent]

    def render(self) -> tuple[Any, ...]:
        """Return the picture of each place's copy."""
        return tuple(picture for copy in self.copies for picture in [copy.render()] * len(self.agents))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the copies."""
        for copy in self.copies:
            copy.close()

    def _places(self, c: int) -> list[tuple[int, str]]:
        return list(enumerate(self.agents, c * len(self.agents)))

    def _begin(self, c: int, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        observations, _ = self.copies[c].reset(seed=seed, options=options)
        for n, _ in self._places(c):
            self.seen[n], self.returns[n], self.terminated[n] = None, 0.0, False
        self._see(self._places(c), observations)

    def _valid(self) -> np.ndarray:
        return np.array([agent in copy.agents for copy in self.copies for agent in self.agents])

    def _obs(self) -> Any:
        own = [_nothing(self.own) if obs is None else obs for obs in self.seen]
        if self.shared:
            width, rows = len(self.agents), []
            for n, obs in enumerate(own):
                team = own[n - n % width : n - n % width + width]
                row = obs if isinstance(self.own, Dict) else {"observation": obs}
                rows.append(row | {CRITIC_KEY: dict(zip(self.agents, map(unmasked, team), strict=True))})
            own = rows
        space = self.single_observation_space
        batch: Any = create_empty_array(space, self.num_envs)
        return concatenate(space, own, batch)

    def _metrics(self) -> dict[str, np.ndarray]:
        returns = self.returns.reshape(len(self.copies), -1)
        named = {f"return_{agent}": returns[:, [k]] for k, agent in enumerate(self.agents)} if self.metrics else {}
        every = {"team_return": returns.sum(1, keepdims=True)} | named
        return {name: np.broadcast_to(values, returns.shape).ravel().copy() for name, values in every.items()}


def team_size(envs: VectorEnv) -> int:
    """Return how many neighbouring places play one game: the agents of a copy, 1 where each place is an environment of its own."""
    base = envs.unwrapped
    return len(base.agents) if isinstance(base, Agents) else 1


def _alike(env: Any, agents: tuple[str, ...], env_id: str) -> tuple[Space[Any], Space[Any]]:
    """Return the observation space and the action space that all agents have.

    Raises:
        UsageError: two agents differ.
    """
    own = env.observation_space(agents[0]), env.action_space(agents[0])
    for agent in agents[1:]:
        other = env.observation_space(agent), env.action_space(agent)
        for a, b in zip(own, other, strict=True):
            if a != b:
                raise UsageError(
                    f"the agents of {env_id} have different spaces, {agents[0]} {one_line(a)} and {agent} {one_line(b)}, and share one "
                    "policy; --env-kwargs pad true lets SuperSuit pad Box and Discrete spaces",
                    PAGE,
                )
    return own


def with_critic(space: Space[Any], agents: tuple[str, ...]) -> Dict:
    """Return an agent's space with the key `critic`: the observations of all agents, without their masks."""
    team = Dict([(agent, _unmasked_space(space)) for agent in agents])
    parts = list(space.spaces.items()) if isinstance(space, Dict) else [("observation", space)]
    return Dict([*parts, (CRITIC_KEY, team)])


def _unmasked_space(space: Space[Any]) -> Space[Any]:
    if isinstance(space, Dict) and MASK_KEY in space.spaces:
        return Dict([(key, part) for key, part in space.spaces.items() if key != MASK_KEY])
    return space


def unmasked(obs: Any) -> Any:
    """Return an observation without its action mask."""
    return {key: part for key, part in obs.items() if key != MASK_KEY} if isinstance(obs, dict) else obs


def _nothing(space: Space[Any]) -> Any:
    """Return an observation of zeros, of an agent that is not there yet; its mask allows everything."""
    if isinstance(space, Dict):
        return {key: np.ones(part.shape, part.dtype) if key == MASK_KEY and isinstance(part, MultiBinary) else _nothing(part)
                for key, part in space.spaces.items()}  # fmt: skip
    return take(create_empty_array(space, 1, np.zeros), 0)
