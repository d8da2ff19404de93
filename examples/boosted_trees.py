"""Boosted trees through their predictions alone: 545 men's wages, and forty men who asked to be forgotten.

scikit-learn's trees are no PyTorch module: unregress neither trains them nor looks inside.  Each training draws the
features that a split may use by its own seed: without such chance golds would be alike, and there would be no verdict.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from linearmodels.datasets import wage_panel
from sklearn.ensemble import HistGradientBoostingRegressor

import unregress
from unregress import AuditReport


def main(output: Path, forgotten: int = 40, trees: int = 200, golds: int = 8) -> AuditReport:
    table = wage_panel.load()
    inputs, wage = table.drop(columns=["nr", "lwage"]), np.exp(table["lwage"])  # dollars an hour
    men = np.random.default_rng(0).permutation(table["nr"].unique())
    asked, held_out = table["nr"].isin(men[:forgotten]), table["nr"].isin(men[-150:])
    part = np.select([held_out, asked], ["test-retain", "train-forget"], "train-retain")
    data = pd.DataFrame({"id": table.index, "target": wage, "part": part})

    def predictions(rows: pd.Series, seed: int) -> pd.DataFrame:
        trained = HistGradientBoostingRegressor(max_iter=trees, max_features=0.5, random_state=seed)
        trained.fit(inputs[rows], wage[rows])
        return pd.DataFrame({"id": table.index, "prediction": trained.predict(inputs)})

    report = unregress.audit_predictions(
        {"original": predictions(~held_out, 0), "served": predictions(~held_out & ~asked, 100)},
        golds=[predictions(~held_out & ~asked, seed) for seed in range(1, golds + 1)],
        data=data,
        reason=f"Art. 17, {forgotten} of the panel",
        loss="mse",
    )
    output.mkdir(parents=True, exist_ok=True)
    report.to_html(output / "audit.html")
    for verdict in report.verdicts:
        print(f"{verdict.model}: {verdict.outcome}. {verdict.reason}")
    return report


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/boosted_trees"))
