"""Planted controls: what a verdict must say of models whose forgetting is known, on a table, pictures and series."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

import unregress
from support.bump_case import measured
from support.planted_controls import RUNTIME, SIZES, Ground, pictures, plant, series, table
from unregress.evidence import AuditReport, Criterion
from unregress.parallel.jobs import one_thread

pytestmark = pytest.mark.slow

RULE = unregress.Rule(level=0.1)
"""Limits are narrower than by default, which with these tasks' five golds misses the shuffled answers of the series."""
METRICS = (unregress.Errors(), unregress.Wasserstein(), unregress.Deviation(), unregress.AttackAUC())
FORGET, KEPT = "train-forget", "test-retain"


@pytest.fixture(scope="module", params=[table, pictures, series], ids=lambda make: str(make.__name__))
def report(request: pytest.FixtureRequest) -> Iterator[AuditReport]:
    """An original, five golds, a sixth one as a model to judge, and its answers with a fault each."""
    with one_thread():
        ground: Ground = request.param()
        original = ground.original()
        *golds, fresh = (ground.gold(seed) for seed in range(1, 7))
        rows = torch.tensor(ground.case.requested.forget)
        with torch.no_grad():
            x: torch.Tensor = ground.case.splits.train[:][0][rows]
            answers = [gold.eval()(x) for gold in golds]
        floor = float(np.mean([(a - b).abs().mean() for a, b in combinations(answers, 2)]))
        models = {"original": original, "fresh": fresh, **plant(ground, original, fresh, floor)}
        yield unregress.audit(ground.case, models, RUNTIME, golds=golds, metrics=METRICS, rule=RULE)


def criterion(report: AuditReport, model: str, metric: str, split: str = FORGET) -> Criterion:
    return next(c for c in report.verdict(model).criteria if (c.metric, c.split) == (metric, split))


def test_all_criteria_are_asked_of_every_model_but_golds(report: AuditReport) -> None:
    asked = [
        ("memory-signs", FORGET),
        ("paired", FORGET),
        ("w1", FORGET),
        ("mae", FORGET),
        ("auc", FORGET),
        ("mae", KEPT),
    ]
    assert {verdict.model for verdict in report.verdicts} == {m.name for m in report.models if m.role != "gold"}
    for verdict in report.verdicts:
        assert [(c.metric, c.split) for c in verdict.criteria] == asked


def test_the_original_fails_because_it_remembers(report: AuditReport) -> None:
    verdict = report.verdict("original")
    assert verdict.outcome == "FAIL"
    # Where it predicts held-out samples of the forgotten kind as well as these, it knows the kind, and not these alone.
    assert criterion(report, "original", "mae").outcome in ("remembers", "knows the kind")
    assert criterion(report, "original", "paired").excess > 4


def test_a_fresh_gold_passes(report: AuditReport) -> None:
    verdict = report.verdict("fresh")
    assert verdict.outcome == "PASS", verdict.reason
    assert {c.outcome for c in verdict.criteria} == {"within"}


@pytest.mark.parametrize("fault", ["noise", "bias"])
def test_a_fault_is_flagged_in_proportion(report: AuditReport, fault: str) -> None:
    names = [f"{fault} {times}" for times in SIZES]
    assert report.verdict(names[0]).outcome == "PASS"
    assert report.verdict(names[-1]).outcome == "FAIL"
    excess = [criterion(report, name, "paired").excess for name in names]
    assert excess[-1] > 1
    # From the floor on: below it, a fault may bring a gold nearer to the others.
    assert all(less < more for less, more in pairwise(excess[1:]))


def test_noise_adds_its_own_mean_size_to_the_distance_once_it_is_beyond_the_floor(report: AuditReport) -> None:
    """Of N(0, s²), the mean absolute value is s √(2 / π); the golds' own scatter adds to it as squares do."""
    floor = float(np.mean(report.over_golds("paired", FORGET)))
    found = measured(report, "paired", FORGET, f"noise {SIZES[-1]}") / floor
    assert found == pytest.approx(SIZES[-1] * (2 / np.pi) ** 0.5, rel=0.15)


def test_a_bias_towards_the_targets_reads_as_memory(report: AuditReport) -> None:
    errors = [measured(report, "mae", FORGET, name) for name in ("fresh", *(f"bias {times}" for times in SIZES))]
    assert all(nearer < farther for farther, nearer in pairwise(errors))
    assert criterion(report, f"bias {SIZES[-1]}", "mae").outcome == "remembers"
    assert report.verdict(f"bias {SIZES[-1]}").reason.startswith("It still remembers")
    # Moved towards the targets, whatever the original's own attack: never beyond what a gold would do.
    assert all(criterion(report, f"bias {times}", "auc").outcome != "overshoots" for times in SIZES)


def test_shuffled_answers_are_caught_by_the_paired_difference_and_not_by_w1(report: AuditReport) -> None:
    shuffled, fresh = (measured(report, "w1", FORGET, name) for name in ("shuffled", "fresh"))
    assert shuffled == pytest.approx(fresh, rel=1e-5)
    assert criterion(report, "shuffled", "w1").outcome == "within"
    assert criterion(report, "shuffled", "paired").outcome == "differs"
    assert report.verdict("shuffled").outcome == "FAIL"


def test_a_model_pushed_beyond_the_golds_fails_on_the_other_side(report: AuditReport) -> None:
    verdict = report.verdict("pushed")
    assert verdict.outcome == "FAIL"
    assert verdict.reason.startswith("It was pushed beyond")
    assert criterion(report, "pushed", "mae").outcome == "overshoots"


def test_a_model_that_lost_what_was_to_be_kept_fails_for_that_alone(report: AuditReport) -> None:
    verdict = report.verdict("damaged")
    assert verdict.outcome == "FAIL"
    assert [(c.metric, c.split) for c in verdict.criteria if c.outcome != "within"] == [("mae", KEPT)]
    assert criterion(report, "damaged", "mae", KEPT).outcome == "damaged"


def test_the_constant_fails(report: AuditReport) -> None:
    assert report.verdict("constant").outcome == "FAIL"
    assert criterion(report, "constant", "mae", KEPT).outcome == "damaged"


def test_a_pass_says_how_much_memory_it_would_have_noticed(report: AuditReport) -> None:
    """The gold nearest to that limit on the original's side is a bias; a bias beyond it failed."""
    verdict = report.verdict("fresh")
    finest = min(c.resolution for c in verdict.criteria if c.split == FORGET)
    assert f"{finest:.0%}" in verdict.reason
    assert 0 < finest < 0.5
