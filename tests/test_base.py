"""What the built-in policies share: orthogonal weights, towers, a state of zeros, statistics in the features."""

import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from ppo.policies import Features, Policy, orthogonal, tower


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(3, 4, 2)], ids=["linear", "conv"])
def test_orthogonal_rows_have_the_gain_as_length_and_biases_are_zero(layer):
    rows = orthogonal(layer, gain=3.0).weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 9 * torch.eye(4))
    assert (layer.bias == 0).all()


def test_orthogonal_takes_a_layer_without_a_bias():
    assert orthogonal(nn.Linear(2, 2, bias=False)).bias is None


def test_a_tower_has_activations_between_its_layers_alone():
    layers = list(tower(3, (8, 5), 2, "relu", gain=0.01))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [(layer.in_features, layer.out_features) for layer in layers[::2]] == [(3, 8), (8, 5), (5, 2)]
    assert layers[-1].weight.norm(dim=1).tolist() == pytest.approx([0.01, 0.01])


class Remembering(Policy):
    """A policy of a user, with a state of 3 numbers."""

    state_size = 3

    def __init__(self):
        super().__init__()
        self.features = Features(Box(-9, 9, (2,)), normalize=True)
        self.actor = nn.Linear(2, 2)


def test_the_initial_state_is_zero_and_of_the_size_that_the_policy_states():
    assert torch.equal(Remembering().initial_state(4), torch.zeros(4, 3))


def test_statistics_are_those_of_the_features():
    policy = Remembering()
    policy.update_statistics(torch.tensor([[[1.0, 2], [3, 4], [99, 99]]]), torch.tensor([[True, True, False]]))
    assert policy.features.normalizer.mean.tolist() == [2.0, 3.0]


def test_a_policy_without_forward_says_so():
    with pytest.raises(NotImplementedError):
        Remembering()(torch.zeros(1, 1, 2), torch.zeros(1, 3), torch.zeros(1, 1, dtype=torch.bool))
