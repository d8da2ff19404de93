"""Forget men of a wage panel: 545 men, eight years each, and a network that predicts a wage from last year's.

First one man: his seven rows are judged mainly by one test of the memory kept, and the verdict says how much that test
could have seen.  Then forty men, the first by number: over 280 rows, eight golds tell memory from the chance
differences between golds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from linearmodels.datasets import wage_panel
from torch import nn

from unregress import AuditReport, Project, Recipe, Runtime

MAN = ["exper", "expersq", "educ", "occupation", "married", "union", "black", "hisp"]
FEATURES = ["year", *MAN, "hours", "last_hours", "last_lwage"]


def load_table() -> pd.DataFrame:
    """A row for each man and year from 1981 on, with log wage and hours of the year before."""
    table = wage_panel.load().sort_values(["nr", "year"])
    table[["last_lwage", "last_hours"]] = table.groupby("nr")[["lwage", "hours"]].shift()
    return table.dropna().assign(record=table["nr"].astype(str) + "/" + table["year"].astype(str))


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))


def forget_first(count: int, project: Project, output: Path, golds: int) -> AuditReport:
    """Forget the first men of the training set by number; save the model; audit it."""
    asked = sorted(set(project.splits.subjects))[:count]
    done = project.forget(subjects=asked, reason=f"Art. 17, {count} of the panel")
    done.save(output / f"men-{count}")
    report = project.audit(done, golds=golds, stack=golds)
    report.to_html(output / f"men-{count}.html")
    print(*(f"{count} men, {each.model}: {each.outcome}. {each.reason}" for each in report.verdicts), sep="\n")
    return report


def main(output: Path, men: tuple[int, ...] = (1, 40), epochs: int = 60, golds: int = 8) -> list[AuditReport]:
    project = Project.from_table(
        load_table(),
        build_model=build_model,
        features=FEATURES,
        target="lwage",
        id="record",
        subject="nr",
        training=Recipe(epochs=epochs, lr=0.005, batch_size=64, schedule="one-cycle"),
        runtime=Runtime(accelerator="cpu"),
    )
    project.train()
    return [forget_first(count, project, output, golds) for count in men]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/wage_panel"))
