"""AllCNN for regression: a convolutional network with one output, which takes images as bytes."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from unregress.models.resnet import Pixels

STAGES = (
    ((3, 96, 3, 1), (96, 96, 3, 1), (96, 192, 3, 2)),
    ((192, 192, 3, 1), (192, 192, 3, 1), (192, 192, 3, 2)),
    ((192, 192, 3, 1), (192, 192, 1, 1)),
)
"""Input channels, output channels, kernel size and stride of each convolution, by stage."""


def allcnn_regressor() -> nn.Sequential:
    """Make a new AllCNN that predicts one number per image; output `(n, 1)`.

    This is All-CNN-C of Springenberg et al. (2015), "Striving for Simplicity", Table 1, with three changes.  The third
    convolution has 192 maps instead of 96, as in the code published for the paper's AgeDB notebook.  As is common in
    unlearning code, each convolution is followed by batch normalisation, in place of dropout, and the mean over
    positions by a linear layer, in place of a 1x1 convolution with a ReLU before the mean.

    The stages are called `stage1` to `stage3` (for Blindspot: `stage?`).  For images of 32 by 32 their outputs, after
    ReLU, are 192 maps of 16 by 16, 8 by 8, and 8 by 8.  Images may have any size from 1 by 1 pixel.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(pixels=Pixels())
    for number, stage in enumerate(STAGES, 1):
        parts[f"stage{number}"] = nn.Sequential(*(_convolution(*sizes) for sizes in stage))
    parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts["head"] = nn.Linear(STAGES[-1][-1][1], 1)
    return nn.Sequential(parts).to(memory_format=torch.channels_last)


def _convolution(channels: int, maps: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution with batch normalisation and ReLU."""
    # The normalisation has its own bias.  The ReLU is not in place, since a hook may keep its input.
    convolution = nn.Conv2d(channels, maps, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(
        OrderedDict(convolution=convolution, normalisation=nn.BatchNorm2d(maps), rectification=nn.ReLU())
    )
