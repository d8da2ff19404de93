"""The outcome of a model whose predictions are right and whose weights remember, from numbers written by hand."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.stats import t as student

from support.hand_reports import bare_report
from unregress.evidence import AuditedModel, AuditReport, Criterion, Measurement, Part, Verdict
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge

SPREAD = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
READ, AGAIN, REVIVED = "readout", "relearn-loss", "revival"
PLACES: dict[str, tuple[str, Part]] = {
    "paired": ("paired", "train-forget"),
    "mae": ("mae", "train-forget"),
    "auc": ("auc", "train-forget"),
    "kept": ("mae", "test-retain"),
    READ: (READ, "train-forget"),
    AGAIN: (AGAIN, "validation-forget"),
    REVIVED: (REVIVED, "train-forget"),
}
GOLDS = {
    "paired": 3 + 0.2 * SPREAD,
    "mae": 30 + SPREAD,
    "auc": 0.5 - 0.01 * SPREAD,
    "kept": 6 + 0.1 * SPREAD,
    READ: 0.1 + 0.02 * SPREAD,
    AGAIN: 1 + 0.1 * SPREAD,
    REVIVED: 0.02 * SPREAD,
}
ORIGINAL = {"paired": 13.0, "mae": 18.0, "auc": 0.7, "kept": 6.0, READ: -0.9, AGAIN: -0.05, REVIVED: 0.8}
LIKE = {name: float(values.mean()) for name, values in GOLDS.items()}


def report(
    changes: dict[str, float], original: dict[str, float] | None = None, without: tuple[str, ...] = ()
) -> AuditReport:
    names = [f"gold {n}" for n in range(5)]
    rows = {"original": ORIGINAL | (original or {}), "mine": LIKE | changes}
    rows |= {name: {key: float(values[n]) for key, values in GOLDS.items()} for n, name in enumerate(names)}
    return bare_report(
        [
            AuditedModel(name="original", role="original"),
            AuditedModel(name="mine", role="unlearned"),
            *(AuditedModel(name=name, role="gold") for name in names),
        ],
        [
            Measurement(metric=metric, split=split, model=name, value=row[key])
            for name, row in rows.items()
            for key, (metric, split) in PLACES.items()
            if key not in without
        ],
    )


def verdict(changes: dict[str, float], rule: Rule = Rule(), **more: object) -> Verdict:  # noqa: B008 frozen
    (found,) = [each for each in judge(report(changes, **more), rule) if each.model == "mine"]  # type: ignore[arg-type]
    return found


def criterion(found: Verdict, metric: str) -> Criterion:
    (one,) = [each for each in found.criteria if each.metric == metric]
    return one


def test_limits_by_hand() -> None:
    """One limit each, at a third of 2 %."""
    reach = student.isf(0.02 / 3, 4) * sqrt(5 / 8) * sqrt(6 / 5)
    found = verdict({})
    read, again, revived = (criterion(found, metric) for metric in (READ, AGAIN, REVIVED))
    assert (read.low, read.high) == (pytest.approx(0.1 - 0.02 * reach), None)
    assert read.resolution == pytest.approx(0.02 * reach)
    assert (again.low, again.high) == (pytest.approx(1 - 0.1 * reach), None)
    assert (revived.low, revived.high) == (None, pytest.approx(0.02 * reach))
    assert again.resolution == pytest.approx(0.1 * reach / 1.05)
    assert revived.resolution == pytest.approx(max(0.02 * reach, 0.04) / 0.8)
    assert found.outcome == "PASS"
    seen = "more than 7% of what the original's show would have been noticed, by a readout of its hidden layers"
    assert f"Weights: {seen}." in found.reason


def test_alone_a_criterion_has_the_whole_level() -> None:
    found = verdict({}, without=(READ, REVIVED))
    assert criterion(found, AGAIN).low == pytest.approx(1 - 0.1 * student.isf(0.02, 4) * sqrt(5 / 8) * sqrt(6 / 5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({READ: -0.5}, "its weights remember: the error of a linear readout of its hidden layers on the forgotten"),
        ({AGAIN: 0.3}, "its weights remember: its loss in the first steps of being trained on all data again"),
        ({REVIVED: 0.3}, "its weights remember: the memory of the forgotten samples that comes back"),
    ],
)
def test_memory_in_the_weights_alone_is_an_outcome_of_its_own(changes: dict[str, float], words: str) -> None:
    found = verdict(changes)
    assert (found.outcome, found.rejected, found.obstacle) == ("OUTPUTS ONLY", True, None)
    assert criterion(found, next(iter(changes))).outcome == "remembers"
    assert found.decisive == criterion(found, next(iter(changes)))
    assert words in found.reason


@pytest.mark.parametrize("changes", [{READ: 0.9}, {AGAIN: 3.0}, {REVIVED: -0.5}])
def test_learning_again_later_or_reviving_less_is_no_memory(changes: dict[str, float]) -> None:
    assert verdict(changes).outcome == "PASS"


@pytest.mark.parametrize("changes", [{READ: -0.5}, {AGAIN: 0.3}, {REVIVED: 0.3}])
def test_where_the_original_does_not_remember_either_nothing_is_said(changes: dict[str, float]) -> None:
    found = verdict(changes, original={READ: 0.1, AGAIN: 1.0, REVIVED: 0.0})
    assert found.outcome == "PASS"
    assert "Weights: not even the original's show memory, by a readout of its hidden layers or how soon" in found.reason


def test_predictions_that_remember_decide_before_the_weights() -> None:
    found = verdict({"mae": 20.0, REVIVED: 0.7})
    assert (found.outcome, found.rejected) == ("FAIL", True)
    assert "its error on the forgotten samples" in found.reason
    assert criterion(found, REVIVED).outcome == "remembers"


def test_where_outputs_have_no_power_the_weights_convict_and_do_not_acquit() -> None:
    """The original is hardly nearer to the targets than golds are, so that predictions tell nothing."""
    like_golds = {key: LIKE[key] for key in ("paired", "auc")} | {"mae": 29.9}
    assert verdict({}, original=like_golds).outcome == "INCONCLUSIVE"
    found = verdict({REVIVED: 0.3}, original=like_golds)
    assert (found.outcome, found.rejected) == ("OUTPUTS ONLY", True)
    assert "could not be told from a retrained model's, but its weights remember" in found.reason
    # An original that errs more than golds has nothing that could be remembered.
    assert verdict({REVIVED: 0.3}, original=like_golds | {"mae": 30.1}).outcome == "INCONCLUSIVE"


def test_not_looked_for_is_said() -> None:
    found = verdict({}, without=(READ, AGAIN, REVIVED))
    assert found.outcome == "PASS"
    assert "Weights: memory in them was not looked for." in found.reason


@pytest.mark.slow
def test_golds_are_wrongly_suspected_as_often_as_the_level_says() -> None:
    """Golds that vary normally; 2,000 draws at 2 %, whose standard error is 0.3 %."""
    rng, suspected, times = np.random.default_rng(0), 0, 2000
    base = report({})
    for _ in range(times):
        drawn = {
            READ: 0.1 + 0.02 * rng.normal(size=6),
            AGAIN: 1 + 0.1 * rng.normal(size=6),
            REVIVED: 0.02 * rng.normal(size=6),
        }
        rows = {name: n for n, name in enumerate([*base.golds, "mine"])}
        measures = tuple(
            replace(each, value=float(drawn[each.metric][rows[each.model]]))
            if each.metric in drawn and each.model in rows
            else each
            for each in base.measures
        )
        suspected += judge(replace(base, measures=measures), Rule())[1].outcome == "OUTPUTS ONLY"
    assert suspected / times == pytest.approx(0.02, abs=0.01)
