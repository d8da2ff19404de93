"""Forget a week of hours: the oil temperature of a transformer (ETTh1), forecast by a LightningModule.

It trains by RMSprop and a cosine schedule of its own.  All windows that touch the week, by inputs or targets, go.
"""

import sys
from pathlib import Path

import lightning
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import AuditReport, LightningTraining, Project, Splits, TensorTask, print_table
from unregress.data.conditions import touching

DATA = Path(__file__).parents[2] / "shared/data/ett/ETTh1.csv"
BACK, AHEAD = 48, 6  # hours


class Forecast(lightning.LightningModule):
    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(7 * BACK, 256), nn.ReLU(), nn.Linear(256, AHEAD))

    def forward(self, past: Tensor) -> Tensor:
        return self.body(past)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> tuple[list[object], list[object]]:
        optimizer = torch.optim.RMSprop(self.parameters(), lr=1e-3)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)]


def main(output: Path, hours: int = 2400, epochs: int = 30, golds: int = 5) -> AuditReport:
    table = pd.read_csv(DATA, index_col="date")[: hours + 1500]
    scale = StandardScaler().fit(table[:hours].to_numpy())
    values = torch.from_numpy(scale.transform(table.to_numpy())).float()
    parts = [part.unfold(0, BACK + AHEAD, 1) for part in values.split([hours, 500, 1000])]  # (windows, 7, hours)
    train, validation, test = (TensorDataset(part[:, :, :BACK], part[:, -1, BACK:]) for part in parts)
    training = LightningTraining(settings={"max_epochs": epochs, "accelerator": "cpu"}, batch_size=64)
    splits = Splits(train=train, validation=validation, test=test, fitted={"scaler": scale})
    project = Project(task=TensorTask(lambda: Forecast(epochs), loss="mse"), splits=splits, training=training)
    project.train()
    starts = range(len(train))
    week = touching(starts, [start + BACK + AHEAD - 1 for start in starts], first=14 * 24, last=21 * 24 - 1)
    done = project.forget(where=week, reason="the meter was read without consent in its third week")
    report = project.audit(done, golds=golds)
    report.to_html(output / "audit.html")
    return report


if __name__ == "__main__":
    print_table(main(Path(*sys.argv[1:] or ["runs/transformer_oil"])))
