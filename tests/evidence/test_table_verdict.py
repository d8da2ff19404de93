"""The verdict by leave-out predictions: each outcome from numbers written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.hand_reports import bare_report
from unregress.evidence import CONSTANT, AuditedModel, AuditReport, Measurement
from unregress.evidence.rule import Rule
from unregress.evidence.table_verdict import KEPT_BY_TABLE, NOTICED, TABLE_COUPLING, judge_by_table
from unregress.evidence.verdict import judge


def report(
    slope: float = 0.02,
    p: float = 0.3,
    *,
    original_p: float | None = 0.001,
    noticed: float = 0.95,
    coupling: float | None = 0.3,
    error: float | None = 1.0,
    constant: float | None = 2.0,
    samples: int = 20,
) -> AuditReport:
    """A model's slope, whose limits without memory are -0.1 and 0.1, beside an original that remembers."""

    def kept(model: str, value: float, p: float | None) -> Measurement:
        limits = (value - 0.1, value + 0.1)
        return Measurement(metric=KEPT_BY_TABLE, split="train-forget", model=model, value=value, interval=limits, p=p)

    def of(metric: str, split: str, **values: float | None) -> list[Measurement]:
        known = {name: value for name, value in values.items() if value is not None}
        return [Measurement(metric=metric, split=split, model=name, value=value) for name, value in known.items()]

    measures = [kept("original", 0.9, original_p), kept("mine", slope, p)]
    measures += of(NOTICED, "train-forget", original=noticed, mine=noticed)
    measures += of(TABLE_COUPLING, "test-retain", original=coupling)
    measures += of("mae", "test-retain", original=1.0, mine=error, **{CONSTANT: constant})
    models = [AuditedModel(name="original", role="original"), AuditedModel(name="mine", role="unlearned")]
    return bare_report(models, measures, samples)


@pytest.mark.parametrize(
    ("given", "outcome", "obstacle"),
    [
        ({}, "PASS", None),
        ({"slope": 0.3, "p": 0.01}, "FAIL", None),  # still remembers
        ({"slope": -0.2, "p": 0.99}, "FAIL", None),  # pushed away from the true values
        ({"original_p": 0.2}, "INCONCLUSIVE", "original"),
        ({"original_p": 0.2, "noticed": 0.02}, "INCONCLUSIVE", "original"),
        ({"original_p": 0.04, "noticed": 0.02, "coupling": 0.88}, "INCONCLUSIVE", "golds"),
        ({"samples": 4}, "INCONCLUSIVE", "samples"),
        ({"samples": 4, "coupling": 0.8}, "INCONCLUSIVE", "golds"),
        ({"noticed": 0.5}, "INCONCLUSIVE", "golds"),
        ({"coupling": 0.8}, "INCONCLUSIVE", "golds"),
        ({"error": 1.06}, "INCONCLUSIVE", "golds"),
        # An error of 1.05 counts as unharmed, so that a model without skill is noticed above that alone.
        ({"constant": 1.06}, "PASS", None),
        ({"constant": 1.05}, "INCONCLUSIVE", "kept"),
        ({"constant": 0.9}, "INCONCLUSIVE", "kept"),
        # What was not measured is no reason for a PASS.
        ({"coupling": None}, "INCONCLUSIVE", "golds"),
        ({"error": None}, "INCONCLUSIVE", "measures"),
        ({"error": float("nan")}, "INCONCLUSIVE", "measures"),
        ({"constant": None}, "INCONCLUSIVE", "measures"),
        ({"original_p": None}, "INCONCLUSIVE", "measures"),
        # Memory that is seen is seen, however few the samples and weak the coupling.
        ({"slope": 0.3, "p": 0.01, "samples": 1, "coupling": 0.9, "noticed": 0.1}, "FAIL", None),
    ],
)
def test_each_outcome(given: dict[str, float | None], outcome: str, obstacle: str | None) -> None:
    found = judge_by_table("mine", report(**given))
    assert found is not None and (found.outcome, found.obstacle) == (outcome, obstacle)


def test_the_original_remembers_and_the_rule_reads_the_table_where_there_are_no_golds() -> None:
    assert [each.outcome for each in judge(report(), Rule())] == ["FAIL", "PASS"]


def test_where_golds_differ_too_much_the_table_judges() -> None:
    """Five golds whose errors scatter as widely as the original's memory, beside a table that tells."""
    base, names = report(samples=100), [f"retrained #{number}" for number in range(5)]
    values = {"paired": 3.0, "w1": 1.0, "mae": 30.0, "auc": 0.5}
    golds = [
        Measurement(metric=metric, split="train-forget", model=name, value=value * (1 + sign * 0.3 * (number - 2)))
        for metric, value in values.items()
        for sign in (-1 if metric == "auc" else 1,)  # the smaller an error, the better the attack
        for number, name in enumerate(names)
    ]
    own = [
        Measurement(metric=metric, split="train-forget", model=name, value=value * (0.8 if metric == "mae" else 1.1))
        for metric, value in values.items()
        for name in ("original", "mine")
    ]
    kept = [
        Measurement(metric="mae", split="test-retain", model=name, value=1 + 0.01 * k) for k, name in enumerate(names)
    ]
    models = (*base.models, *(AuditedModel(name=name, role="gold") for name in names))
    mixed = replace(base, models=models, measures=(*base.measures, *golds, *own, *kept))
    without = replace(mixed, measures=(*golds, *own, *kept, *(m for m in base.measures if m.metric == "mae")))
    assert judge(without, Rule())[1].obstacle == "spread"
    assert [each.outcome for each in judge(mixed, Rule())] == ["FAIL", "PASS"]


def test_the_reason_has_the_numbers() -> None:
    reason = judge_by_table("mine", report()).reason
    assert "0.02 of the way" in reason and "-0.10 to 0.10" in reason and "with a probability of 95%" in reason


@pytest.mark.parametrize(
    "given",
    [
        {"original_p": 0.04},  # the original is not told apart
        {"slope": 0.3, "p": 0.01},  # still remembers
        {"slope": -0.2, "p": 0.99},  # pushed away
        {"samples": 4},
        {},
    ],
)
def test_a_weak_coupling_and_a_small_power_are_said_in_every_verdict(given: dict[str, float]) -> None:
    reason = judge_by_table("mine", report(**given, coupling=0.88, noticed=0.02)).reason
    assert "coupling 0.88" in reason and "with probability 2%" in reason and "nothing was found" not in reason
    strong = judge_by_table("mine", report(**given)).reason
    assert "coupling" not in strong and "with probability" not in strong


def test_without_the_originals_memory_nobody_passes() -> None:
    full = report()
    measures = tuple(each for each in full.measures if (each.metric, each.model) != (KEPT_BY_TABLE, "original"))
    found = judge_by_table("mine", replace(full, measures=measures))
    assert found is not None and (found.outcome, found.obstacle) == ("INCONCLUSIVE", "measures")


def test_without_a_table_there_is_no_verdict_by_it() -> None:
    assert judge_by_table("nobody", report()) is None
