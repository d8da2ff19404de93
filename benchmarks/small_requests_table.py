"""Summarise the results of `small_requests.py`: a CSV of all numbers, and a Markdown table for each problem.

python benchmarks/small_requests_table.py results/small-requests
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

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


def markdown(found: dict[str, Any]) -> str:
    """A table of means over a problem's requests, with a gold's own values for comparison."""
    head = ["", "share", "distance / floor, coupled", "uncoupled", "β, coupled", "uncoupled"]
    head += ["KLoM", "attack", "revival", "test error"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    requests = [each for each in found["requests"].values() if "models" in each]
    golds = [
        "gold", "1", "1", "1", _range(requests, "coupled gold beta"), _range(requests, "uncoupled gold beta"),
        _mean(each.get("klom", {}).get("gold") for each in requests),
        _range([each["coupled golds"] for each in requests], "auc with references"),
        _range([each["coupled golds"] for each in requests], "revival"),
        _mean(np.mean(each["coupled golds"]["test"]) for each in requests),
    ]  # fmt: skip
    lines.append(f"| {' | '.join(golds)} |")
    for model in requests[0]["models"]:
        own = [each["models"][model] for each in requests]
        cells = [
            model,
            _mean(each.get("share of retraining", 0.0) for each in own),
            *(_mean(each[kind]["paired / floor"] for each in own) for kind in ("coupled", "uncoupled")),
            *(_mean(each[kind]["beta"] for each in own) for kind in ("coupled", "uncoupled")),
            _mean(each.get("klom", {}).get(model) for each in requests),
            *(_mean(each["coupled"].get(name) for each in own) for name in ("auc with references", "revival", "test")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Any) -> str:
    known = [float(value) for value in values if value is not None]
    return f"{np.mean(known):.2g}" if known else "–"


def _range(requests: list[dict[str, Any]], name: str) -> str:
    known = [value for each in requests for value in each.get(name, [])]
    return f"{min(known):.2f} to {max(known):.2f}" if known else "–"


def main() -> None:
    """Write `summary.csv` beside the results, and print the tables."""
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
    for each in found:
        print(f"\n## {each['problem']}: {each['coupling']}\n")
        if any("models" in request for request in each["requests"].values()):
            print(markdown(each))


if __name__ == "__main__":
    main()
