"""Samples for tests: any space as a hypothesis strategy, and random observations of a space."""

from collections import OrderedDict

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import strategies as st

from ppo.envs.spaces import Packer

N = 3

IMAGE = Box(0, 255, (4, 5, 3), np.uint8)
ENDS = np.array([-np.inf, -1.5, 0.1], np.float32), np.array([1e-20, np.inf, 1 / 3], np.float32)

shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
starts = st.integers(-3, 3)


@st.composite
def multi_discretes(draw):
    shape = draw(shapes.filter(len))
    nvec, start = (draw(st.lists(x, min_size=27, max_size=27)) for x in (st.integers(1, 5), starts))
    size = int(np.prod(shape))
    return MultiDiscrete(np.reshape(nvec[:size], shape), start=np.reshape(start[:size], shape))


leaf_spaces = st.one_of(
    st.builds(lambda n, start: Discrete(n, start=start), st.integers(1, 5), starts),
    multi_discretes(),
    st.builds(lambda shape: MultiBinary(shape), shapes.filter(len)),
    st.builds(lambda shape, high: Box(-high, np.inf, shape), shapes, st.sampled_from([0.1, 2.5, np.inf])),
    st.builds(lambda shape: Box(-0.1, 1 / 3, shape, np.float64), shapes),
    st.builds(lambda shape: Box(-7, 7, shape, np.int32), shapes),
    st.just(Box(*ENDS)),
    st.just(IMAGE),
)
keys = st.lists(st.text("zyxabc_", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)
any_space = st.recursive(
    leaf_spaces,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(Tuple),
        st.builds(
            lambda names, parts: Dict(OrderedDict(zip(names, parts, strict=False))),
            keys,
            st.lists(inner, min_size=3, max_size=3),
        ),
    ),
    max_leaves=5,
)


def batch(space: gymnasium.Space, seed: int = 0) -> tuple[list, object]:
    """Return N samples, one by one and batched as a vector environment does."""
    space.seed(seed)
    samples = [space.sample() for _ in range(N)]
    return samples, concatenate(space, samples, create_empty_array(space, N))


def random_obs(space: gymnasium.Space, steps: int, envs: int) -> torch.Tensor:
    """Return packed observations (T, N, *obs) sampled from a space."""
    space.seed(0)
    samples = [space.sample() for _ in range(steps * envs)]
    packed = Packer(space)(concatenate(space, samples, create_empty_array(space, len(samples))))
    return packed.unflatten(0, (steps, envs))
