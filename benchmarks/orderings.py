"""Which of the paper's orderings hold in the results under results/reproduction: a table of docs/reproduction.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

EXPERIMENTS = {
    "utkface-60-100": "UTKFace 60–100",
    "utkface-0-30": "UTKFace 0–30",
    "stsb-0-2": "STS-B 0–2",
    "stsb-random-1000": "STS-B random",
    "stsb-year-2015": "STS-B 2015",
}
METHODS = ("FineTune", "UniformAmnesiac", "GaussianAmnesiac", "Blindspot")
CLOSE = 0.1
"""An error that exceeds the golds' by this share or less is near theirs."""


Rows = list[dict[str, Any]]
"""The rows of a `result.json`."""


@dataclass(frozen=True)
class Numbers:
    """One metric's numbers of one experiment, by model and seed; golds are `retrained`."""

    values: dict[str, list[float]]
    bounds: set[str]

    @classmethod
    def of(cls, rows: Rows, metric: str, *splits: str) -> Numbers:
        """Those of the first of some parts of the data that was measured."""
        found = {row["split"]: row["cells"] for row in rows if row["metric"] == metric}
        cells = next(found[split] for split in splits if split in found)
        values = {name: [each for each in cell["values"] if each is not None] for name, cell in cells.items()}
        return cls(
            {name: each for name, each in values.items() if each},
            {str(cells[name]["bound"]) for name in METHODS if name in cells},
        )

    def ordered(self, key: Callable[[float], float], among: tuple[str, ...] = METHODS) -> list[str]:
        """Models by their mean, the smallest key first."""
        return sorted((name for name in among if name in self.values), key=lambda name: key(mean(self.values[name])))

    def claim(self, name: str, key: Callable[[float], float], among: tuple[str, ...] = METHODS) -> str:
        """Whether a model comes first, with its mean and that of the first, or of the second."""
        first, second, *_ = self.ordered(key, among)
        other = second if first == name else first
        numbers = f"{self.shown(name)}; {other} {self.shown(other)}"
        spread = max((stdev(self.values[each]) for each in (name, other) if len(self.values[each]) > 1), default=0.0)
        near = abs(mean(self.values[name]) - mean(self.values[other])) <= spread
        return f"{'holds' if first == name else 'no'}: {numbers}{', within a seed’s spread' if near else ''}"

    def shown(self, name: str) -> str:
        """A model's mean, with three digits."""
        return f"{mean(self.values[name]):.3g}"


def _original_is_farthest(rows: Rows) -> str:
    return Numbers.of(rows, "w1", "train-forget").claim("original", lambda w1: -w1, ("original", *METHODS))


def _finetune_forgets_least(rows: Rows) -> str:
    return Numbers.of(rows, "w1", "train-forget").claim("FineTune", lambda w1: -w1)


def _retained_error_is_near(rows: Rows) -> str:
    errors = Numbers.of(rows, "mae", "test-retain")
    above = {name: mean(errors.values[name]) / mean(errors.values["retrained"]) - 1 for name in errors.ordered(float)}
    far = [f"{name} {share:+.0%}" for name, share in above.items() if share > CLOSE]
    return f"no: {', '.join(far)}" if far else f"holds: at most {max(above.values()):+.0%}"


def _blindspot_is_nearest(rows: Rows) -> str:
    return Numbers.of(rows, "w1", "train-forget").claim("Blindspot", float)


def _blindspot_errs_more(rows: Rows) -> str:
    if not any(row["split"] == "test-forget" for row in rows):
        return "–"  # a random request is of no kind
    errors = Numbers.of(rows, "mae", "test-forget")
    own, golds = mean(errors.values["Blindspot"]), errors.values["retrained"]
    within = ", within their range" if min(golds) <= own <= max(golds) else ""
    numbers = f"{errors.shown('Blindspot')}; golds {errors.shown('retrained')}{within}"
    return f"{'holds' if own > mean(golds) else 'no'}: {numbers}"


def _blindspot_hides_best(rows: Rows) -> str:
    return Numbers.of(rows, "attack", "train-forget").claim("Blindspot", float)


def _blindspot_relearns_alike(rows: Rows) -> str:
    found = Numbers.of(rows, "ain", "validation-forget", "train-forget")
    if "<=" in found.bounds:
        return "only bounds: golds do not relearn in the steps taken"
    return found.claim("Blindspot", lambda index: abs(index - 1))


CLAIMS: dict[str, Callable[[Rows], str]] = {
    "The original is farthest from gold on the forget set (W1)": _original_is_farthest,
    "FineTune forgets least of the methods (W1)": _finetune_forgets_least,
    "Retained error (err_Dt_r) is at most 10 % above gold's": _retained_error_is_near,
    "Blindspot is nearest to gold (W1)": _blindspot_is_nearest,
    "Blindspot's error on held-out samples of the forgotten kind is above gold's": _blindspot_errs_more,
    "Blindspot has the lowest attack probability": _blindspot_hides_best,
    "Blindspot's anamnesis index is nearest to 1": _blindspot_relearns_alike,
}
"""What the paper finds, and how it is read of a result's rows."""


def lines(results: Path) -> Iterator[str]:
    """The table: a row for each claim, a column for each experiment."""
    rows = {
        title: json.loads((results / name / "result.json").read_text(encoding="utf-8"))["rows"]
        for name, title in EXPERIMENTS.items()
    }
    yield f"| what the paper finds | {' | '.join(rows)} |"
    yield "|---" * (1 + len(rows)) + "|"
    for claim, read in CLAIMS.items():
        yield f"| {claim} | {' | '.join(read(each) for each in rows.values())} |"
