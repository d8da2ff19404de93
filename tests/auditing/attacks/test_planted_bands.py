"""The verdict on requests for a band of targets, under attack: planted models whose right outcome is known.

The rates at 5, 10 and 20 golds are in results/calibration/planted-bands.json; here is what must not depend on luck.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_pools import pool_of

from support.planted_audits import AUDITS, Found, audits, crossed, outcomes


@pytest.fixture(scope="module", params=["tabular", "image"])
def found(request: pytest.FixtureRequest) -> Found:
    """Verdicts by the planted model, with eight golds of eleven and two originals."""
    pool = pool_of(request.param, Path(), golds=13, originals=2, seed=3, shuffles=1, asked="band")
    assert pool.target["test-forget"].min() >= pool.target["train-forget"].min()
    assert pool.target["test-retain"].max() < pool.target["train-forget"].min()
    return audits(pool, golds=8)


@pytest.mark.parametrize("name", ["original", "fine-tuned", "the original on 20 %", "a constant", "router, gold last"])
def test_who_knows_the_band_or_nothing_never_passes(found: Found, name: str) -> None:
    assert "PASS" not in outcomes(found[name])


def test_an_original_knows_more_than_retrained_models_and_has_not_merely_overshot(found: Found) -> None:
    failed = crossed(found["original"])
    assert len(failed) == AUDITS and not {"overshoots", "differs"} & set(failed)


def test_a_fresh_gold_seldom_fails(found: Found) -> None:
    assert outcomes(found["gold"]).count("FAIL") <= 4


def test_samples_known_exactly_are_noticed_the_more_there_are(found: Found) -> None:
    failed = [outcomes(found[f"knows {share} % exactly"]).count("FAIL") for share in (1, 5, 10)]
    assert failed == sorted(failed) and failed[-1] > 0.8 * AUDITS
