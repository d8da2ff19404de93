"""A user's project with a LightningModule, for the command line."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from support.training_data import column
from unregress import Splits, TensorTask


class Net(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.body(inputs)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(self.parameters(), lr=0.01)


def task() -> TensorTask:
    return TensorTask(build_model=Net, loss="mse")


def data() -> Splits:
    inputs, targets = column(160)
    parts = [torch.utils.data.TensorDataset(inputs[rows], targets[rows]) for rows in torch.arange(160).split(80)]
    return Splits(train=parts[0], test=parts[1])


def callbacks() -> list[Callback]:
    return [Callback()]
