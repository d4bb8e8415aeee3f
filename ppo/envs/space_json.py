"""Spaces as JSON: what a checkpoint says of the observations and actions its policy is for."""

from collections import OrderedDict
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.vector import VectorEnv

from ppo.envs.spaces import parts
from ppo.envs.text_env import text_env


def to_json(space: Space[Any]) -> dict[str, Any]:
    """Describe a supported space by plain JSON values; `from_json` is its inverse."""
    if isinstance(space, Dict | Tuple):
        return {"type": type(space).__name__, "spaces": [[key, to_json(part)] for key, part in parts(space)]}
    if isinstance(space, Box):
        bounds = {name: _numbers(getattr(space, name)) for name in ("low", "high")}
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, MultiDiscrete):
        numbers = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"type": "MultiDiscrete", "dtype": str(space.dtype), **numbers}
    assert isinstance(space, MultiBinary)
    return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}


def from_json(data: dict[str, Any]) -> Space[Any]:
    """Rebuild the space that `to_json` described."""
    kind = data["type"]
    if kind == "Dict":
        return Dict(OrderedDict((key, from_json(part)) for key, part in data["spaces"]))  # keeps the packing order
    if kind == "Tuple":
        return Tuple([from_json(part) for _, part in data["spaces"]])
    if kind == "Box":
        dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
        return Box(_bound(data["low"], shape, dtype), _bound(data["high"], shape, dtype), shape, dtype)
    if kind == "Discrete":
        return Discrete(data["n"], start=data["start"], dtype=np.dtype(data["dtype"]).type)
    if kind == "MultiDiscrete":
        dtype = np.dtype(data["dtype"])
        return MultiDiscrete(np.array(data["nvec"]), dtype.type, start=np.array(data["start"]))
    return MultiBinary(data["n"])


def spaces_of(envs: VectorEnv) -> dict[str, Any]:
    """Describe by plain JSON values what a policy must fit: both spaces, and the symbols of a text environment."""
    single = {"obs": envs.single_observation_space, "action": envs.single_action_space}
    text = text_env(envs)
    symbols = {"symbols": list(text.vocabulary.symbols)} if text is not None else {}
    return {name: to_json(space) for name, space in single.items()} | symbols


def _numbers(bound: np.ndarray) -> Any:
    # One number where all are equal, so that an image's bounds are no page of zeros; text, for JSON has no infinity.
    texts = [str(x) for x in bound.ravel()]
    return texts[0] if len(set(texts)) == 1 else texts


def _bound(texts: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if isinstance(texts, str):
        return np.full(shape, np.array([texts]).astype(dtype)[0], dtype)
    return np.array(texts).astype(dtype).reshape(shape)
