"""scikit-learn's diabetes patients: ten measurements each, and the progression of the disease after a year.

The data come with scikit-learn (Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004), so that an
experiment on them needs no data folder and takes minutes.  They are not in the unlearning paper.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress.data.splits import Splits
from unregress.experiments.experiment import Forget
from unregress.experiments.families.base import Family, Loaded
from unregress.tasks.adapters import TensorTask

SIZES = {"train": 300, "validation": 60, "test": 82}


def mlp() -> nn.Module:
    """A fresh network: ten measurements in, two hidden layers of 64 units, one score out."""
    return nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(10, 64),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(64, 64),
            relu2=nn.ReLU(),
            score=nn.Linear(64, 1),
        )
    )


def _patients(root: Path, forget: tuple[Forget, ...]) -> Loaded:
    """Split the 442 patients in a fixed random order; `root` and `forget` are not used."""
    from sklearn.datasets import load_diabetes

    table = load_diabetes()
    # The columns come with mean 0 and squares that sum to 1; this gives them variance 1.
    inputs = torch.tensor(table.data * len(table.data) ** 0.5, dtype=torch.float32)
    scores = torch.tensor(table.target, dtype=torch.float32)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    parts = dict(zip(SIZES, order.split(list(SIZES.values())), strict=True))
    data = {name: TensorDataset(inputs[rows], scores[rows]) for name, rows in parts.items()}
    return Loaded(
        splits=Splits(train=data["train"], validation=data["validation"], test=data["test"]),
        task=TensorTask(build_model=mlp, loss="l1"),
        attributes={name: {"target": scores[rows].numpy()} for name, rows in parts.items()},
        notes=("Inputs are standardised with all 442 patients, as scikit-learn gives them.",),
    )


FAMILIES = {
    "diabetes": Family(
        title="Diabetes",
        model="MLP",
        kind="diabetes",
        error="mae",
        layers={"relu?": None},
        code=("experiments/families/diabetes",),
        open=_patients,
    ),
}
