"""The wage panel as a project: 545 men, eight years each, and a network that predicts a wage from last year's."""

from __future__ import annotations

from linearmodels.datasets import wage_panel
from torch import nn

from unregress import Columns, Splits, TensorTask

MAN = ["exper", "expersq", "educ", "occupation", "married", "union", "black", "hisp"]
FEATURES = ["year", *MAN, "hours", "last_hours", "last_lwage"]


def make_task() -> TensorTask:
    """The network, trained on the squared error of the logarithm of the wage."""
    return TensorTask(build_model=build_model, loss="mse")


def build_model() -> nn.Module:
    """An untrained network."""
    return nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))


def load_data() -> Splits:
    """Draw the splits, all years of a man in one of them."""
    table = wage_panel.load().sort_values(["nr", "year"])
    table[["last_lwage", "last_hours"]] = table.groupby("nr")[["lwage", "hours"]].shift()
    table = table.dropna()
    table["record"] = table["nr"].astype(str) + "/" + table["year"].astype(str)
    return Columns(features=FEATURES, target="lwage", id="record", subject="nr").read(table)
