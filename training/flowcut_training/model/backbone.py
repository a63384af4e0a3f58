"""The ResNet that looks at frames one by one: torchvision's, with frozen batch statistics."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import resnet

BackboneName = Literal["resnet18", "resnet34", "resnet50"]
_BASIC_BLOCKS = ("resnet18", "resnet34")


class FrozenNorm(nn.Module):
    """Batch normalisation whose statistics and weights stay as they are.

    torchvision's does the same in float32 whatever comes in, and so would undo autocast in the whole backbone.
    """

    _EPSILON = 1e-5
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, C, H, W) in the precision that they have."""
        scale = self.weight * (self.running_var + self._EPSILON).rsqrt()
        shift = self.bias - self.running_mean * scale
        kind = features.dtype
        return features * scale.to(kind)[:, None, None] + shift.to(kind)[:, None, None]


class Backbone(nn.Module):
    """Feature maps of frames at strides 4, 8, 16 and 32 (``res2`` to ``res5``).

    Clips are few in a batch, so batch statistics stay those of the pretraining (`FrozenNorm`); all convolutions
    are trained. The stride of a bottleneck is in its 3 x 3 convolution, as in detectron2's STRIDE_IN_1X1 false.
    """

    def __init__(self, name: BackboneName = "resnet50") -> None:
        super().__init__()
        # zero_init_residual has no place here: the frozen scale of a zero would never be left.
        network = getattr(resnet, name)(weights=None, norm_layer=FrozenNorm)
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        expansion = 1 if name in _BASIC_BLOCKS else 4
        self.channels = tuple(width * expansion for width in (64, 128, 256, 512))

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Return res2, res3, res4, res5 of frames (N, 3, H, W), each (N, C, H / stride, W / stride)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = layer(features)
            maps.append(features)
        return maps
