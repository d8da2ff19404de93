"""Audit reports of experiments that kept no audits, rebuilt from their tables: every number that a verdict reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from unregress.evidence import CONSTANT, RETRAINED, AuditedModel, AuditReport, Measurement, Role

_DRAWN = ("attack", "attack-accuracy", "probe-auc", "cka-distance")
"""Measurements of golds that depend on an audit's own draws or on its original, while a table holds those of the first
seed's audit alone."""


def reports(record: Mapping[str, Any]) -> list[list[AuditReport]]:
    """The audits of an experiment by request and seed, as far as its table tells.

    Args:
        record: content of its `result.json`.
    """
    stages = sorted({row["stage"] for row in record["rows"]})
    return [[_report(record, stage, seed) for seed in range(_seeds(record))] for stage in stages]


def _seeds(record: Mapping[str, Any]) -> int:
    return max(len(row["cells"]["original"]["values"]) for row in record["rows"])


def _report(record: Mapping[str, Any], stage: int, seed: int) -> AuditReport:
    rows = [row for row in record["rows"] if row["stage"] == stage and not (seed and row["metric"] in _DRAWN)]
    measures = tuple(each for row in rows for each in _measured(row, seed))
    sizes = dict(re.findall(r"((?:train|test)-\w+) ([\d,]+)", record["facts"]["Data"]))
    return AuditReport(
        version="",
        reason="",
        request_digest=str(stage),
        target_band=None,
        samples={part: int(size.replace(",", "")) for part, size in sizes.items()},
        data_digest="",
        settings={},
        models=tuple(AuditedModel(name=name, role=_role(name)) for name in dict.fromkeys(m.model for m in measures)),
        about=(),
        measures=measures,
        figures=(),
    )


def _measured(row: Mapping[str, Any], seed: int) -> Iterator[Measurement]:
    """One row of the table: the models' values of one seed, and all golds'."""
    for name, cell in row["cells"].items():
        golds = list(enumerate(cell["values"], 1)) if name == RETRAINED else [(1, cell["values"][seed])]
        for number, value in golds:
            model = name if number == 1 else f"{name} #{number}"
            yield Measurement(
                metric=row["metric"], split=row["split"], model=model, value=value, bound=cell["bound"] or "="
            )


def _role(name: str) -> Role:
    if name == "original":
        return "original"
    if name.partition(" #")[0] == RETRAINED:
        return "gold"
    return "reference" if name == CONSTANT or name.endswith("'s helper") else "unlearned"
