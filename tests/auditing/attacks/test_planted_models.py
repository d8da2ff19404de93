"""The verdict under attack: planted models whose right outcome is known, on a tabular, an image and a text task.

The rates at 5, 10 and 20 golds are in results/calibration/planted-models.json; here are the outcomes that must not
depend on luck, over audits of a small pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from planted_pools import pool_of

from support.planted_audits import AUDITS, Found, audits, crossed, outcomes
from unregress.evidence import Verdict


@cache
def judged(kind: str, data: Path) -> Found:
    """Audits with five golds each, drawn from eleven and two originals."""
    return audits(pool_of(kind, data, golds=13, originals=2, seed=3, shuffles=2 if kind == "tabular" else 1), golds=5)


@pytest.fixture(scope="module", params=["tabular", "image", pytest.param("text", marks=pytest.mark.data)])
def found(request: pytest.FixtureRequest) -> Iterator[Found]:
    """Verdicts by the planted model."""
    data = request.getfixturevalue("data_root") if request.param == "text" else Path()
    yield judged(request.param, data)


def test_an_original_never_passes_and_fails_as_one_that_remembers(found: Found) -> None:
    assert "PASS" not in outcomes(found["original"])
    assert outcomes(found["original"]).count("FAIL") >= AUDITS / 2
    assert set(crossed(found["original"])) == {"remembers"}


def test_a_fresh_gold_seldom_fails_and_an_average_of_golds_hardly_ever(found: Found) -> None:
    assert outcomes(found["gold"]).count("FAIL") <= 3
    assert outcomes(found["ensemble of five golds"]).count("FAIL") <= 1


@pytest.mark.parametrize("name", ["kept answered by the median", "a constant"])
def test_without_skill_on_what_was_kept_nobody_passes(found: Found, name: str) -> None:
    assert "PASS" not in outcomes(found[name])
    assert "remembers" not in crossed(found[name])


@pytest.mark.parametrize("name", ["residuals of flipped sign", "answers permuted"])
def test_wrong_answers_fail_and_are_not_called_memory(found: Found, name: str) -> None:
    assert outcomes(found[name]).count("PASS") <= 1
    assert outcomes(found[name]).count("FAIL") > AUDITS / 2
    assert crossed(found[name]).count("remembers") <= 1


def test_the_more_is_known_exactly_the_more_often_it_is_noticed(found: Found) -> None:
    failed = [outcomes(found[f"knows {share} % exactly"]).count("FAIL") for share in (1, 5, 10)]
    assert failed == sorted(failed)
    assert failed[-1] > outcomes(found["gold"]).count("FAIL")


def test_similar_samples_that_are_known_better_are_no_overshoot_and_no_memory(found: Found) -> None:
    seen = crossed(found["similar samples better by 20 %"])
    assert seen.count("overshoots") + seen.count("remembers") <= 1


def test_which_subnetwork_is_called_last_does_not_matter(found: Found) -> None:
    first, last = (outcomes(found[f"router, {which} last"]) for which in ("gold", "original"))
    assert first == last


def test_fine_tuning_is_not_forgetting(found: Found) -> None:
    assert "PASS" not in outcomes(found["fine-tuned"])


def below(verdicts: Sequence[Verdict], metric: str) -> float:
    """How far a measurement of the weights is below the golds' on average, in units of the distance of its limit."""
    of = [each for verdict in verdicts for each in verdict.criteria if each.metric == metric]
    return float(np.mean([(each.gold - each.value) / (each.gold - each.low) for each in of if each.low is not None]))


def test_a_router_is_seen_in_its_hidden_layers(found: Found) -> None:
    router, gold = found["router, gold last"], found["gold"]
    assert below(router, "readout") > 1 and below(found["original"], "readout") > 1
    assert abs(below(gold, "readout")) < 0.3
    assert outcomes(router).count("OUTPUTS ONLY") > AUDITS / 3 > outcomes(gold).count("OUTPUTS ONLY")


def test_a_router_is_seen_by_relearning() -> None:
    """On the tabular task; on pictures and sentences relearning hardly tells it from a gold."""
    found = judged("tabular", Path())
    assert below(found["router, gold last"], "relearn-loss") > 0.5 and below(found["original"], "relearn-loss") > 1
    assert abs(below(found["gold"], "relearn-loss")) < 0.25
