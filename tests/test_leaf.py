"""The interface of a leaf is all that a new kind of space needs."""

import gymnasium
import numpy as np
import pytest
import torch

from ppo.envs.leaves import KINDS


def test_a_new_kind_of_space_is_one_class(monkeypatch):
    from ppo.envs.leaf import Leaf
    from ppo.policies import Features, Head

    class Angle(gymnasium.Space):
        def __init__(self):
            super().__init__((), np.float32)

    class AngleLeaf(Leaf):
        """Read as sine and cosine, sampled as one Gaussian number."""

        def __init__(self, space):
            super().__init__(space)
            self.num_features, self.factors = 2, [("gaussian", 1)]

        @property
        def bounds(self):
            return np.array([[-np.inf], [np.inf], [1.0]])

        def features(self, x, scale=True):
            return torch.stack([x.sin(), x.cos()], dim=-1)

        def to_env(self, packed, squash=False):
            return self._cast(packed) % np.float32(2 * np.pi)

    monkeypatch.setitem(KINDS, Angle, AngleLeaf)
    features, head = Features(Angle()), Head(Angle())
    assert features(torch.zeros(1, 1))[0].tolist() == [[[0.0, 1.0]]]
    assert head.to_env(torch.tensor([[1.0], [8.0]])).tolist() == pytest.approx([1.0, 8 - 2 * np.pi], rel=1e-5)
