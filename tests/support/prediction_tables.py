"""Tables of predictions by planted models: the original remembers, golds do not, `unlearned` is one more gold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PARTS = ("train-retain", "train-forget", "test-retain", "test-forget")
SIZES = (200, 60, 80, 40)


def data(seed: int = 0) -> pd.DataFrame:
    """Targets and parts of 380 rows with ids, in a random order of parts."""
    rng = np.random.default_rng(seed)
    part = rng.permutation(np.repeat(PARTS, SIZES))
    return pd.DataFrame(
        {"id": [f"p{row}" for row in range(len(part))], "target": rng.normal(50, 10, len(part)), "part": part}
    )


def predicted(rows: pd.DataFrame, seed: int, *, memory: float = 0.0) -> pd.DataFrame:
    """Errors of about 3 on all rows, shrunk on the forgotten ones by `memory` (1: none is left).

    Three quarters of an error are common to all models, as those of models of the same data are.
    """
    common = np.random.default_rng(99).normal(0, 3, len(rows))
    error = 0.75 * common + 0.25 * np.random.default_rng(1000 + seed).normal(0, 3, len(rows))
    kept = np.where(rows["part"] == "train-forget", 1 - memory, np.where(rows["part"] == "train-retain", 0.2, 1.0))
    return pd.DataFrame({"id": rows["id"], "prediction": rows["target"] + kept * error})


def tables(golds: int = 6) -> dict[str, Any]:
    """Arguments of `audit_predictions` with data frames."""
    rows = data()
    return {
        "models": {"original": predicted(rows, 0, memory=0.9), "unlearned": predicted(rows, 60)},
        "golds": [predicted(rows, seed) for seed in range(1, golds + 1)],
        "data": rows,
    }


def written(folder: Path, golds: int = 6) -> None:
    """Write the tables as CSV: original, unlearned, gold-1, gold-2, …, data."""
    asked = tables(golds)
    named = {
        **asked["models"],
        **{f"gold-{n}": gold for n, gold in enumerate(asked["golds"], 1)},
        "data": asked["data"],
    }
    for name, frame in named.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
