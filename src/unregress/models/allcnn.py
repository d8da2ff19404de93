"""AllCNN with one output, an image network of convolutions only, that takes images as bytes."""

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
"""Channels in and out, kernel and stride of each convolution."""


def allcnn_regressor() -> nn.Sequential:
    """A fresh AllCNN that predicts one number per image; output `(n, 1)`.

    All-CNN-C of Springenberg et al. (2015), "Striving for Simplicity", Table 1, but for the third convolution, which
    has 192 maps instead of 96 as in the code that was published for the paper's AgeDB notebook.  As commonly in
    unlearning code, each convolution is followed by batch normalisation, which stands for the original's dropout, and
    the mean over positions by a linear layer: in the original a 1x1 convolution before the mean, which is the same but
    for a rectification.

    Its stages are called `stage1` to `stage3`; an image of 32 by 32 leaves them as 192 maps of 16 by 16, 192 of 8 by 8,
    and 192 of 8 by 8, all of them rectified.  `stage?` names them for Blindspot.  Any side from 1 pixel will do.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(pixels=Pixels())
    for number, stage in enumerate(STAGES, 1):
        parts[f"stage{number}"] = nn.Sequential(*(_convolution(*sizes) for sizes in stage))
    parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts["head"] = nn.Linear(STAGES[-1][-1][1], 1)
    return nn.Sequential(parts).to(memory_format=torch.channels_last)


def _convolution(channels: int, maps: int, kernel: int, stride: int) -> nn.Sequential:
    # The normalisation has a bias of its own.  Nothing is rectified in place: a hook may hold what is rectified.
    convolution = nn.Conv2d(channels, maps, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(
        OrderedDict(convolution=convolution, normalisation=nn.BatchNorm2d(maps), rectification=nn.ReLU())
    )
