"""Summarise the results of `small_requests.py` in a CSV; `small_requests_page.py` writes the tables of the page.

python benchmarks/small_requests_table.py results/small-requests
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

NUMBERS = ("paired / floor", "beta", "auc with references", "relearning", "revival", "retained", "test")


def rows_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each request and model."""
    rows = []
    for request, each in found["requests"].items():
        rows += _distances(found["problem"], request, each)
        for model, values in each.get("models", {}).items():
            row = {"problem": found["problem"], "request": request, "samples": each["samples"], "model": model}
            row["share of retraining"] = values.get("share of retraining", 0.0)
            for kind in ("coupled", "uncoupled"):
                row |= {f"{kind} {name}": values[kind].get(name) for name in NUMBERS}
                row[f"{kind} verdict"] = values.get("verdict", {}).get(kind, "")
            row["memory by the table"] = values["coupled"].get("memory by the table")
            row["drift of near samples"] = values.get("drift of near samples")
            row["klom"] = each.get("klom", {}).get(model)
            rows.append(row)
    return rows


def _distances(problem: str, request: str, each: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a request for which only distances from coupled golds were measured."""
    if "models" in each or "original - gold" not in each:
        return []
    named = {"original": each["original - gold"], "leave-out table": each["table - gold"]}
    size = each.get("samples", request.split()[0])
    return [
        {"problem": problem, "request": request, "samples": size, "model": model}
        | {"coupled paired / floor": distance / each["coupled floor"]}
        for model, distance in named.items()
    ]


def main() -> None:
    """Write `summary.csv` beside the results."""
    folder = Path(sys.argv[1])
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    found = [each for each in found if "requests" in each]
    rows = [row for each in found for row in rows_of(each)]
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
        )


if __name__ == "__main__":
    main()
