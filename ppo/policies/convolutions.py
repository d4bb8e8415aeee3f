"""Convolutions: networks that read images (M, C, H, W), and which of them reads which image."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ppo.envs.images import Image
from ppo.policies.base import orthogonal


class NatureCNN(nn.Sequential):
    """Three convolutions (Mnih et al. 2015), flattened."""

    width = 512  # of the layer that follows in the paper
    source = "Mnih et al. 2015"

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in ((channels, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)):
            layers += [orthogonal(nn.Conv2d(inputs, outputs, kernel, stride)), nn.ReLU()]
        super().__init__(*layers, nn.Flatten())


class SmallCNN(nn.Sequential):
    """One convolution, as MinAtar's networks have it (Young and Tian 2019), flattened."""

    width = 128
    source = "Young and Tian 2019"

    def __init__(self, channels: int) -> None:
        super().__init__(orthogonal(nn.Conv2d(channels, 16, 3)), nn.ReLU(), nn.Flatten())


class Residual(nn.Module):
    """x + two convolutions of x, each after an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # With a gain of 1, six blocks raise the variance about fourfold; with √2, as elsewhere, by 64.
        self.first, self.second = (orthogonal(nn.Conv2d(channels, channels, 3, padding=1), 1.0) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, C, H, W) to the same shape."""
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class ImpalaCNN(nn.Sequential):
    """Three sections of a convolution, a pooling and two residual blocks (Espeholt et al. 2018, figure 3), flattened."""

    width = 256
    source = "Espeholt et al. 2018"

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 16), (16, 32), (32, 32)):
            layers += [orthogonal(nn.Conv2d(inputs, outputs, 3, padding=1)), nn.MaxPool2d(3, 2, padding=1)]
            layers += [Residual(outputs), Residual(outputs)]
        super().__init__(*layers, nn.ReLU(), nn.Flatten())


def convolutions(name: str, image: Image) -> nn.Sequential:
    """Return the network that reads an image: "impala", or for "cnn" the one for its size."""
    kind = ImpalaCNN if name == "impala" else NatureCNN if image.is_large else SmallCNN
    return kind(image.shape[0])


def num_outputs(network: nn.Module, image: Image) -> int:
    """Return the number of features that a network makes of an image."""
    with torch.no_grad():
        return int(network(torch.zeros(1, *image.shape)).shape[1])
