"""Requests with few samples under attack: planted models, simulated, and the outcomes that must not depend on luck.

The rates at 5, 10 and 20 golds are in results/calibration/planted-few.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from planted_few import MODELS, OTHERWISE, label, memory_of, one_audit, stated_power

from unregress import Rule
from unregress.evidence import Verdict

AUDITS = 8
SIZES = [(samples, golds) for samples in (5, 20, 29) for golds in (5, 10)]


@cache
def audits(samples: int, golds: int) -> Sequence[Mapping[str, Verdict]]:
    rng = np.random.default_rng([3, samples, golds])
    return [one_audit("independent", samples, golds, Rule(), rng) for _ in range(AUDITS)]


def labels(name: str, samples: int, golds: int) -> list[str]:
    return [label(audit[name]) for audit in audits(samples, golds)]


@pytest.mark.parametrize(("samples", "golds"), SIZES)
def test_what_is_said_of_the_sensitivity_is_the_same_for_every_model_of_an_audit(samples: int, golds: int) -> None:
    for audit in audits(samples, golds):
        assert len({stated_power(audit[name]) for name in MODELS}) == 1
        weak = {each.golds_needed for each in audit.values() if each.obstacle in ("spread", "original")}
        assert len(weak) <= 1


@pytest.mark.parametrize(("samples", "golds"), SIZES)
def test_a_thousand_everywhere_fails_by_its_error(samples: int, golds: int) -> None:
    assert set(labels("1000 everywhere", samples, golds)) == {"FAIL: mae@train-forget"}


@pytest.mark.parametrize(("samples", "golds"), SIZES)
def test_an_original_never_passes(samples: int, golds: int) -> None:
    found = labels("original", samples, golds)
    assert not any(each.startswith("PASS") for each in found)
    if samples >= 20:
        assert found.count("FAIL: memory@train-forget") >= AUDITS - 1


@pytest.mark.parametrize("name", ["constant on the forgotten", "permuted", "noise"])
@pytest.mark.parametrize(("samples", "golds"), SIZES)
def test_wrong_answers_pass_only_with_a_warning_and_hardly_ever_from_twenty_samples_on(
    name: str, samples: int, golds: int
) -> None:
    found = labels(name, samples, golds)
    if samples >= 20:
        assert sum(each.startswith("PASS") for each in found) <= 1
    for audit in audits(samples, golds):
        error = next(each for each in audit[name].criteria if each.kind == "error")
        if audit[name].outcome == "PASS" and error.value > 2 * error.gold:
            assert "pushed too far" in audit[name].reason


@pytest.mark.parametrize("golds", [5, 10])
def test_half_of_the_memory_in_twenty_samples_is_mostly_noticed(golds: int) -> None:
    found = labels("half kept", 20, golds) + labels("half kept", 29, golds)
    assert found.count("FAIL: memory@train-forget") >= AUDITS


@pytest.mark.parametrize(("samples", "golds"), SIZES)
def test_a_fresh_gold_seldom_fails(samples: int, golds: int) -> None:
    assert sum(each.startswith("FAIL") for each in labels("gold", samples, golds)) <= 2


@pytest.mark.parametrize("name", OTHERWISE)
@pytest.mark.parametrize(("samples", "golds"), SIZES)
def test_a_model_that_never_saw_the_samples_is_seldom_said_to_remember_them(
    name: str, samples: int, golds: int
) -> None:
    told = [memory_of(audit[name]) for audit in audits(samples, golds)]
    assert told.count("remembers") <= 1


@pytest.mark.parametrize(("samples", "golds"), SIZES[2:])
def test_memory_is_said_to_be_memory(samples: int, golds: int) -> None:
    told = [memory_of(audit["original"]) for audit in audits(samples, golds)]
    assert told.count("remembers") >= AUDITS - 1
