"""The verdict on a method over seeds: p-values counted by hand, its level, what it gains, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from math import comb
from pathlib import Path

import numpy as np
import pytest

from support.hand_reports import bare_report
from unregress.errors import PreflightError, SettingError, StaleError
from unregress.evidence import AuditedModel, AuditReport, Criterion, Measurement, Outcome, Verdict
from unregress.evidence.method_verdict import method_verdict

RESULTS = Path(__file__).parents[2] / "results" / "reproduction"
GOLDS = (30.0, 31.0, 32.0, 33.0, 34.0)
DIFFERENT = count(10.0)
"""A number for each original, so that no two are the same."""


CROSSED = Criterion(
    kind="error", metric="mae", split="train-forget", question="its error", value=1.0, gold=1.0, original=0.0,
    low=None, high=None, outcome="within",
)  # fmt: skip


def audit(model: float | None, golds: tuple[float, ...] = GOLDS, original: float = 10.0, **other: float) -> AuditReport:
    """One audit's errors on the forgotten samples; `other`: the model's value of a second measurement, `auc`.

    No two originals are the same.
    """
    rows = {
        "original": original + (model or 0) / 1000,
        "mine": model,
        **{f"gold {n}": value for n, value in enumerate(golds)},
    }
    models = [
        AuditedModel(name=name, role="original" if name == "original" else "unlearned" if name == "mine" else "gold")
        for name in rows
    ]
    found = [Measurement(metric="mae", split="train-forget", model=name, value=value) for name, value in rows.items()]
    found.append(Measurement(metric="rmse", split="train-forget", model="original", value=next(DIFFERENT)))
    if other:
        seconds = {"original": 0.9, "mine": other["auc"], **{f"gold {n}": 0.5 + n / 100 for n in range(len(golds))}}
        found += [Measurement(metric="auc", split="train-forget", model=name, value=v) for name, v in seconds.items()]
    return bare_report(models, found)


def test_shared_golds_by_hand() -> None:
    """Three models below all five golds: 1 of 56 arrangements, and its mirror image is not there at both ends."""
    found = method_verdict([audit(27.0), audit(28.0), audit(29.0)], "mine")
    (one,) = found.comparisons
    assert one.p == pytest.approx(2 / 56)  # 27, 28, 29 or 32, 33, 34 as models: sums as far from the mean
    assert (one.models, one.golds) == ((27.0, 28.0, 29.0), GOLDS)
    assert found.smallest == pytest.approx(2 / 56)
    assert found.outcome == "FAIL"
    assert "is 28 on average, below the retrained models' 32" in found.reason


def test_golds_of_their_own_by_hand() -> None:
    """Labels are exchanged within each audit: 6 places each, 36 in all, two of them at an end."""
    second = tuple(value + 100 for value in GOLDS)
    found = method_verdict([audit(29.0), audit(129.0, second)], "mine")
    (one,) = found.comparisons
    assert one.p == pytest.approx(2 / 36)
    assert len(one.golds) == 10
    assert method_verdict(
        [audit(29.0), audit(129.0, second), audit(229.0, tuple(v + 200 for v in GOLDS))], "mine"
    ).comparisons[0].p == pytest.approx(2 / 216)


def test_models_among_the_golds_pass_where_originals_do_not() -> None:
    found = method_verdict([audit(31.5), audit(32.5), audit(32.0)], "mine")
    assert found.outcome == "PASS"
    assert found.comparisons[0].p > 0.5
    assert found.comparisons[0].p_original == pytest.approx(1 / 56)


def test_where_no_arrangement_can_tell_nothing_is_said() -> None:
    found = method_verdict([audit(27.0, GOLDS[:3]), audit(28.0, GOLDS[:3])], "mine")
    assert found.outcome == "INCONCLUSIVE"
    assert found.smallest == pytest.approx(1 / comb(5, 2))


def test_where_originals_are_not_told_nothing_is_said() -> None:
    found = method_verdict([audit(31.5, original=31.0), audit(32.5, original=32.0), audit(32.0, original=33.0)], "mine")
    assert found.outcome == "INCONCLUSIVE"
    assert "Not even the originals" in found.reason


@pytest.mark.parametrize(
    ("singles", "outcome"),
    [
        (("FAIL", "FAIL", "PASS"), "FAIL"),
        (("FAIL", "OUTPUTS ONLY", "PASS"), "FAIL"),
        (("FAIL", "PASS", "PASS"), "PASS"),
        (("INCONCLUSIVE", "INCONCLUSIVE", "PASS"), "INCONCLUSIVE"),
        (("INCONCLUSIVE", "FAIL", "PASS"), "INCONCLUSIVE"),
        (("INCONCLUSIVE", "PASS", "PASS"), "PASS"),
    ],
)
def test_most_models_by_themselves_decide_too(singles: tuple[Outcome, ...], outcome: str) -> None:
    reports = [
        replace(audit(value), verdicts=(Verdict(model="mine", outcome=single, reason="By itself.", criteria=()),))
        for value, single in zip((31.5, 32.5, 32.0), singles, strict=True)
    ]
    found = method_verdict(reports, "mine")
    assert found.outcome == outcome
    assert ("by themselves: By itself (together p = " in found.reason) == (outcome != "PASS")


@pytest.mark.parametrize(
    ("singles", "outcome"),
    [
        (("FAIL", "INCONCLUSIVE"), "INCONCLUSIVE"),
        (("FAIL", "PASS", "PASS", "PASS"), "PASS"),  # one of four golds is found against in 34 % at 10 % each
        (("FAIL", "FAIL", "PASS", "PASS"), "INCONCLUSIVE"),  # two of four in 5.2 %
        (("FAIL", "OUTPUTS ONLY", "FAIL", "INCONCLUSIVE", "PASS", "PASS"), "INCONCLUSIVE"),  # they share golds
        (("FAIL", "FAIL", "PASS", "PASS", "PASS"), "PASS"),  # two of five in 8.1 %
        (("OUTPUTS ONLY", "OUTPUTS ONLY", "INCONCLUSIVE", "INCONCLUSIVE", "PASS"), "INCONCLUSIVE"),
        (("FAIL", "PASS", "PASS", "INCONCLUSIVE", "INCONCLUSIVE"), "INCONCLUSIVE"),
    ],
)
def test_a_method_passes_only_if_most_models_do(singles: tuple[Outcome, ...], outcome: str) -> None:
    golds = tuple(20.0 + n for n in range(25))  # enough for two models
    reports = [
        replace(
            audit(31.0 + n / 3, golds),
            verdicts=(Verdict(model="mine", outcome=single, reason="Alone.", criteria=(CROSSED,)),),
        )
        for n, single in enumerate(singles)
    ]
    assert method_verdict(reports, "mine").outcome == outcome


def test_more_failures_than_chance_explains_count_where_each_audit_has_golds_of_its_own() -> None:
    """Three of six golds are found against in 1.6 %, if each is by 10 %."""
    singles: tuple[Outcome, ...] = ("FAIL", "OUTPUTS ONLY", "FAIL", "INCONCLUSIVE", "PASS", "PASS")
    reports = [
        replace(
            audit(31.0 + n / 3, tuple(20.0 + k + n / 100 for k in range(25))),
            verdicts=(Verdict(model="mine", outcome=single, reason="Alone.", criteria=(CROSSED,)),),
        )
        for n, single in enumerate(singles)
    ]
    assert method_verdict(reports, "mine").outcome == "FAIL"


def test_a_difference_within_the_tolerance_is_no_failure() -> None:
    """5 % of what sets the originals apart, 32 - 19, is 0.65."""
    golds = tuple(32 + n / 1000 for n in range(5))
    found = {shift: method_verdict([audit(32 + shift + n / 1e4, golds, 19.0) for n in range(3)]) for shift in (0.5, 1)}
    assert [each.comparisons[0].p for each in found.values()] == [pytest.approx(1 / 56)] * 2
    assert {shift: each.outcome for shift, each in found.items()} == {0.5: "PASS", 1: "FAIL"}
    assert found[1].comparisons[0].margin == pytest.approx(0.65, abs=0.003)


def test_a_pass_says_what_would_have_been_told() -> None:
    """At 32 - 0.15 · 22 = 28.7 all models are as far as two of 56 arrangements; at 29.8 as three, more than 5 %."""
    found = method_verdict([audit(31.5), audit(32.5), audit(32.0)])
    assert found.comparisons[0].sees == pytest.approx(0.15)
    assert "keep 15% of what sets those apart about every second one would have been told, by mae" in found.reason


@pytest.mark.parametrize("change", [lambda v: v, lambda v: v * (1 + 1e-12)])
def test_golds_that_audits_share_are_recognised(change: Callable[[float], float]) -> None:
    """In another order and rounded otherwise, with an attack that each audit draws anew."""
    first = audit(31.0, auc=0.5)
    others = [audit(value, tuple(map(change, reversed(GOLDS))), auc=0.5 + value / 1000) for value in (32.0, 33.0)]
    found = method_verdict([first, *others], measures=[("auc", "train-forget"), ("mae", "train-forget")])
    assert [len(each.golds) for each in found.comparisons] == [5, 5]
    # Golds by ascending error, from audits 1, 2, 3, 1, 2: in the others the first gold has the largest error.
    assert found.comparisons[0].golds == pytest.approx((0.50, 0.53, 0.52, 0.53, 0.50))
    assert found.comparisons[0].models == pytest.approx((0.5, 0.532, 0.533))


def test_partly_shared_golds_and_one_original_twice_are_refused() -> None:
    with pytest.raises(StaleError, match="audits 1 and 2 share some of their retrained models and not all"):
        method_verdict([audit(31.0), audit(32.0, (*GOLDS[1:], 40.0))])
    one = audit(31.0)
    again = replace(one, measures=tuple(replace(m, value=33.0) if m.model == "mine" else m for m in one.measures))
    with pytest.raises(StaleError, match="audits 1 and 2 are about the same original"):
        method_verdict([one, again])


def test_several_measurements_are_corrected_for() -> None:
    reports = [audit(value, auc=0.52) for value in (27.0, 28.0, 29.0)]
    alone, both = (
        method_verdict(reports, "mine", measures=places)
        for places in ([("mae", "train-forget")], [("mae", "train-forget"), ("auc", "train-forget")])
    )
    assert both.comparisons[0].p == pytest.approx(2 * alone.comparisons[0].p)
    assert both.smallest > alone.smallest


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_fresh_golds_fail_as_often_as_the_level_says(shared: bool) -> None:
    """Long tails do not matter to a permutation test; 1,000 draws at 5 %, whose standard error is 0.7 %."""
    rng, failed, times = np.random.default_rng(0), 0, 1000
    for _ in range(times):
        golds = [tuple(30 + rng.standard_t(3, size=5)) for _ in range(3)]
        reports = [audit(30 + rng.standard_t(3), golds[0 if shared else n]) for n in range(3)]
        failed += method_verdict(reports, "mine").comparisons[0].p <= 0.05
    assert failed / times == pytest.approx(2 / 56 if shared else 0.05, abs=0.02)


@pytest.mark.slow
def test_many_arrangements_are_drawn_and_agree_with_all_of_them() -> None:
    """8 models and 12 golds have 125,970 arrangements, 9 and 12 have 293,930."""
    rng = np.random.default_rng(0)
    golds = tuple(rng.normal(size=13).tolist())
    models = (1 + 0.5 * rng.normal(size=8)).tolist()
    every = method_verdict([audit(value, golds[:12]) for value in models], "mine")
    drawn = method_verdict([audit(value, golds) for value in models], "mine")
    assert 0 < every.comparisons[0].p < 0.1
    assert drawn.comparisons[0].p == pytest.approx(every.comparisons[0].p, rel=0.8)
    assert drawn == method_verdict([audit(value, golds) for value in models], "mine")


def test_all_that_does_not_belong_together_is_said_at_once() -> None:
    reports = [audit(31.0), replace(audit(None), request_digest="another"), audit(31.0, golds=())]
    with pytest.raises(StaleError) as refused:
        method_verdict(reports, "mine")
    for words in ("different requests", "audit 2 lacks values of mae", "audit 3 has no retrained model"):
        assert words in refused.value.found
    with pytest.raises(StaleError, match="no unlearned model 'other'"):
        method_verdict(reports[:1] * 2, "other")
    with pytest.raises(SettingError):
        method_verdict(reports[:1], "mine")
    with pytest.raises(PreflightError) as several:
        method_verdict(reports[:1], "mine", level=3, measures=[])
    assert [type(each) for each in several.value.complaints] == [SettingError] * 3


def test_a_name_is_needed_only_where_there_are_several() -> None:
    reports = [audit(31.0), audit(31.5)]
    assert method_verdict(reports) == method_verdict(reports, "mine")
    third = audit(32.0)
    renamed = replace(
        third,
        request_digest="another",
        models=tuple(replace(m, name=m.name.replace("mine", "its")) for m in third.models),
        measures=tuple(replace(m, model=m.model.replace("mine", "its")) for m in third.measures),
    )
    with pytest.raises(StaleError) as refused:
        method_verdict([*reports, renamed])
    for words in ("different requests", "2 unlearned models (mine, its)"):
        assert words in refused.value.found


def test_a_measurement_that_is_unknown_comes_with_those_that_are_known() -> None:
    with pytest.raises(StaleError, match=r"audit 1 lacks values of rmse on train-forget \(it has mae\)"):
        method_verdict([audit(31.0), audit(31.5)], "mine", measures=[("rmse", "train-forget")])


def test_committed_audits_that_pass_one_by_one_are_told_together() -> None:
    """UTKFace, ages of 60 and more, tuned: Uniform-Amnesiac models err by 28.3 where golds err by 30.9 to 33.9."""
    reports = [
        AuditReport.from_json(path) for path in sorted((RESULTS / "utkface-60-100-tuned").glob("audits/seed-*.json"))
    ]
    name = next(each for each in reports[0].named("unlearned") if "uniform" in each.lower())
    found = method_verdict(reports, name)
    assert found.comparisons[0].p == pytest.approx(1 / 56)
    assert found.outcome == "FAIL"
