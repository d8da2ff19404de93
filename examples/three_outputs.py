"""Three outputs with units: body mass index, blood pressure and progression of diabetes from eight measurements.

The network is trained on scaled targets.  The report has each output's error in its unit, and one of all together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

from unregress import AuditReport, Project, Recipe, Runtime, TensorTask

OUTPUTS = {"bmi": "body mass index [kg/m²]", "bp": "blood pressure [mmHg]", "target": "progression [points]"}


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))


def main(output: Path, patients: int = 60, epochs: int = 40, golds: int = 5) -> AuditReport:
    table = load_diabetes(as_frame=True, scaled=False).frame
    train, validation, test = np.split(np.random.default_rng(0).permutation(len(table)), [280, 330])
    inputs, targets = table.drop(columns=list(OUTPUTS)).to_numpy(), table[list(OUTPUTS)].to_numpy()
    inputs_scaler, scaler = StandardScaler().fit(inputs[train]), StandardScaler().fit(targets[train])

    def dataset(rows: np.ndarray) -> TensorDataset:
        scaled = (inputs_scaler.transform(inputs[rows]), scaler.transform(targets[rows]))
        return TensorDataset(*(torch.tensor(each, dtype=torch.float32) for each in scaled))

    project = Project(
        task=TensorTask(build_model, "mse", outputs=list(OUTPUTS.values()), scaler=scaler),
        training=Recipe(epochs=epochs, lr=0.003, batch_size=32, schedule="one-cycle"),
        train=dataset(train),
        validation=dataset(validation),
        test=dataset(test),
        ids=[f"patient-{row}" for row in train],
        fitted={"feature scaler": inputs_scaler, "target scaler": scaler},
        runtime=Runtime(accelerator="cpu"),
    )
    project.train()
    done = project.forget(ids=project.splits.ids[:patients], reason=f"{patients} patients withdrew")
    done.save(output / "deploy")
    report = project.audit(done, golds=golds, stack=golds)
    report.to_html(output / "audit.html")
    for info in report.about:
        if info.metric.startswith("mae"):
            print(info.metric, round(report.value(info.metric, "test-retain", "Retrain"), 2), info.unit)
    print(*(f"{verdict.model}: {verdict.outcome}. {verdict.reason}" for verdict in report.verdicts), sep="\n")
    return report


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/three_outputs"))
