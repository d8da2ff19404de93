"""Variance of training and of unlearning: components by hand, and where they stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.hand_experiments import reports
from unregress.evidence import AuditReport
from unregress.experiments.variance import HEADINGS, markdown, spreads, table

PLACE = "mae", "train-forget"


def valued(value: float | None) -> AuditReport:
    """An audit in which FineTune's error on the forgotten samples has this value."""
    made = reports()[0]
    return replace(
        made,
        measures=tuple(
            replace(each, value=value) if (each.metric, each.split, each.model) == (*PLACE, "FineTune") else each
            for each in made.measures
        ),
    )


def nested(*originals: tuple[float | None, ...]) -> list[list[AuditReport]]:
    return [[valued(value) for value in each] for each in originals]


def test_components_by_hand() -> None:
    """Means 2 and 6; within, mean squares of 2; between, 2 · 8 = 16, so that (16 - 2) / 2 = 7 is training's."""
    found = {(each.metric, each.split): each for each in spreads([nested((1.0, 3.0), (5.0, 7.0))])}
    one = found[PLACE]
    assert (one.stage, one.model, one.values) == (1, "FineTune", ((1.0, 3.0), (5.0, 7.0)))
    assert (one.training, one.unlearning) == pytest.approx((7**0.5, 2**0.5))
    assert one.share == pytest.approx(7 / 9)
    assert one.interval[0] <= one.share <= one.interval[1]
    # What does not vary at all has no share.
    assert found["mae", "test-retain"].unlearning == 0.0
    assert found["mae", "test-retain"].share != found["mae", "test-retain"].share


def test_repetitions_that_vary_more_than_originals_leave_nothing_for_training() -> None:
    (one,) = [each for each in spreads([nested((1.0, 9.0), (2.0, 9.0))]) if (each.metric, each.split) == PLACE]
    assert (one.training, one.share) == (0.0, 0.0)


def test_a_value_that_is_missing_leaves_its_measure_out() -> None:
    found = spreads([nested((1.0, None), (5.0, 7.0))])
    assert PLACE not in {(each.metric, each.split) for each in found}


def test_without_two_of_each_there_is_nothing() -> None:
    assert spreads([nested((1.0,), (5.0,))]) == spreads([nested((1.0, 3.0))]) == spreads([]) == ()
    assert markdown(()) == ""


def test_the_table_names_requests_where_there_are_several() -> None:
    once, twice = (spreads([nested((1.0, 3.0), (5.0, 7.0))] * count) for count in (1, 2))
    assert table(once)[0] == ("Mean absolute error, train-forget", "FineTune", "2.65", "1.41", "78% (0% to 100%)")
    assert [row[0] for row in table(twice)[:: len(once)]] == [
        "Mean absolute error, train-forget, request 1",
        "Mean absolute error, train-forget, request 2",
    ]
    text = markdown(once)
    assert "2 repetitions of unlearning on each of 2 originals" in text
    assert f"| {' | '.join(HEADINGS)} |" in text and len(text.splitlines()) == 5 + len(once)
