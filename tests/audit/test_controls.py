"""Planted controls: what any audit must rank rightly, on a table where the truth is known."""

from __future__ import annotations

import pytest
import torch

import unregress
from audit.small import RUNTIME, Answers, answers_of, measured, small_case
from unregress.evidence import AuditReport

NOISE = (1.0, 2.0, 8.0)


@pytest.fixture(scope="module")
def report(case: unregress.Case, original: unregress.Unlearned, golds: list[unregress.Unlearned]) -> AuditReport:
    gold, fresh, *floor = golds
    x, answers = answers_of(gold.model)
    forget = torch.tensor(case.request.forget)
    generator = torch.Generator().manual_seed(0)
    shuffled = answers.clone()
    shuffled[forget] = answers[forget[torch.randperm(len(forget), generator=generator)]]
    noise = torch.randn(len(x), generator=generator)
    models = {
        "original": original,
        "retrained": gold,
        "a fresh gold": fresh,
        "gold, shuffled": Answers(x, shuffled),
        **{f"gold + noise {size}": Answers(x, answers + size * noise) for size in NOISE},
    }
    metrics = [unregress.Errors(), unregress.Wasserstein(), unregress.Deviation()]
    return unregress.audit(case, models, RUNTIME, floor=floor, metrics=metrics)


def test_original_is_far_beyond_the_noise_floor(report: AuditReport) -> None:
    for metric in ("w1", "paired", "relative-deviation"):
        assert measured(report, metric, "train-forget", "original") > 5 * max(report.floor(metric, "train-forget"))


def test_original_is_much_nearer_where_nothing_was_forgotten(report: AuditReport) -> None:
    forgotten, retained = (measured(report, "paired", part, "original") for part in ("train-forget", "test-retain"))
    assert retained < forgotten / 10


def test_a_fresh_gold_is_at_the_noise_floor(report: AuditReport) -> None:
    for metric in ("w1", "paired", "relative-deviation"):
        floor = report.floor(metric, "train-forget")
        assert min(floor) / 3 < measured(report, metric, "train-forget", "a fresh gold") < 3 * max(floor)


def test_gold_is_at_distance_zero_from_itself(report: AuditReport) -> None:
    for metric in ("w1", "paired", "relative-deviation"):
        assert measured(report, metric, "train-forget", "retrained") == 0


def test_noise_on_gold_grows_in_proportion(report: AuditReport) -> None:
    first, *others = (measured(report, "paired", "train-forget", f"gold + noise {size}") for size in NOISE)
    assert first == pytest.approx((2 / torch.pi) ** 0.5, rel=0.25)  # the mean of |N(0, 1)|
    assert others == pytest.approx([size * first for size in NOISE[1:]], rel=1e-4)
    relative = [measured(report, "relative-deviation-90", "train-forget", f"gold + noise {size}") for size in NOISE]
    assert relative == pytest.approx([size * relative[0] for size in NOISE], rel=1e-3)


def test_a_shuffled_gold_is_caught_by_the_paired_difference_and_not_by_w1(report: AuditReport) -> None:
    assert measured(report, "w1", "train-forget", "gold, shuffled") == pytest.approx(0, abs=1e-6)
    assert measured(report, "paired", "train-forget", "gold, shuffled") > max(report.floor("paired", "train-forget"))
    assert measured(report, "paired", "test-retain", "gold, shuffled") == pytest.approx(0, abs=1e-5)


def test_no_caveat_says_that_nothing_separates_the_original(report: AuditReport) -> None:
    assert not any("nothing separates" in caveat for caveat in report.caveats)


def test_an_original_as_close_as_the_floor_is_said_to_tell_nothing(golds: list[unregress.Unlearned]) -> None:
    """A model that never memorised: the "original" is one more gold."""
    first, second, *floor = golds
    models = {"original": second.model, "retrained": first.model}
    report = unregress.audit(small_case(), models, RUNTIME, floor=floor, metrics=[unregress.Deviation()])
    closest = measured(report, "paired", "train-forget", "original") <= max(report.floor("paired", "train-forget"))
    assert any("nothing separates" in caveat for caveat in report.caveats) == closest
    same = unregress.audit(
        small_case(), models | {"original": first.model}, RUNTIME, floor=floor, metrics=[unregress.Deviation()]
    )
    assert any("nothing separates" in caveat for caveat in same.caveats)
