"""The networks of `small_problems.py` that are made for it."""

from __future__ import annotations

from torch import Tensor, nn

from unregress.models.resnet import Pixels


class WindowNet(nn.Module):
    """A small network on the last week's values: three quantiles of the next hour, `(n, 1, 3)`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(168, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        values: Tensor = x["encoder_cont"][..., -1]
        found: Tensor = self.layers(values)
        return found[:, None, :] + values[:, -1:, None]


def small_cnn() -> nn.Sequential:
    """Four convolutions with batch normalisation and two linear layers, for images of 32 pixels as bytes."""
    stages: list[nn.Module] = [Pixels()]
    for before, after in ((3, 16), (16, 32), (32, 64), (64, 128)):
        stages += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 1))
