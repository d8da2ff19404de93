"""What is said before anything is trained."""

from __future__ import annotations

import pytest

from unregress.evidence.expectation import expectations
from unregress.evidence.rule import Rule


@pytest.mark.parametrize(
    ("forgotten", "golds", "words"),
    [
        (30, 5, []),
        (30, 3, ["A verdict needs 5 retrained models, and there will be 3: without 2 more"]),
        (1, 5, ["1 sample is forgotten, fewer than 30"]),
        (29, 0, ["A verdict needs 5 retrained models, and there will be 0", "29 samples are forgotten"]),
    ],
)
def test_golds_that_are_missing_and_few_samples(forgotten: int, golds: int, words: list[str]) -> None:
    found = expectations(forgotten, golds, Rule())
    assert len(found) == len(words)
    assert all(said.startswith(start) for said, start in zip(found, words, strict=True))


def test_a_leave_out_table_judges_where_golds_are_missing() -> None:
    assert [len(expectations(5, golds, Rule(), table=True)) for golds in (0, 5)] == [1, 1]
    assert "its coupling with the original is unknown" in expectations(5, 0, Rule(), table=True)[0]
    assert expectations(5, 0, Rule(), table=True, coupling=0.7)[0].endswith("the leave-out table judges")


@pytest.mark.parametrize(("forgotten", "coupling"), [(4, 0.2), (20, 0.71)])
def test_what_a_table_cannot_show_is_said_before(forgotten: int, coupling: float) -> None:
    (said,) = expectations(forgotten, 2, Rule(), table=True, coupling=coupling)
    assert "not that none is" in said and said.endswith("3 more retrained models are needed")
    assert ("coupling 0.71" in said) == (coupling > 0.7)


def test_the_rules_numbers_count() -> None:
    assert expectations(5, 3, Rule(golds=3, samples=5)) == []
