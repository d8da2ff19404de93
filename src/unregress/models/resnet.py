"""ResNet18 for regression (paper Section 6.2): torchvision's, with one output, which takes images as bytes."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import resnet18


class Pixels(nn.Module):
    """Convert bytes `(n, height, width, 3)` to numbers in [-1, 1], `(n, 3, height, width)`, channels last in memory."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.permute(0, 3, 1, 2).to(torch.get_default_dtype()).div(127.5).sub(1.0)


def resnet18_regressor() -> nn.Sequential:
    """Make a new ResNet18 that predicts one number per image; output `(n, 1)`.

    Its blocks are called `resnet.layer1` to `resnet.layer4`.
    """
    backbone = resnet18(num_classes=1).to(memory_format=torch.channels_last)
    return nn.Sequential(OrderedDict(pixels=Pixels(), resnet=backbone))
