"""Privacy of what is kept: arithmetic by hand, a planted exposure, and golds that are not suspected."""

from __future__ import annotations

import numpy as np
import pytest

from support.hand_panels import measures, panel, seen, values
from unregress.metrics import RetainedPrivacy, default_metrics
from unregress.metrics.predictions import Predictions

AREA, CHANGE = "auc-retained", "auc-retained-change"
Parts = dict[str, Predictions]


def lossy(retained: list[float], held_out: list[float]) -> Parts:
    return {
        "train-retain": seen(np.zeros(len(retained)), loss=retained),
        "test-retain": seen(np.zeros(len(held_out)), loss=held_out),
    }


def test_by_hand() -> None:
    """Before, kept losses 1 and 3 against 2: one of two pairs.  After, 1 and 1 against 2: both."""
    made = {"original": lossy([1.0, 3.0], [2.0]), "mine": lossy([1.0, 1.0], [2.0])}
    assert values(RetainedPrivacy(), panel(made)) == {
        (AREA, "train-retain", "original"): 0.5,
        (AREA, "train-retain", "mine"): 1.0,
        (CHANGE, "train-retain", "mine"): 0.5,
    }


def test_without_kept_or_held_out_samples_there_is_nothing() -> None:
    made = lossy([1.0], [2.0])
    for part in made:
        assert values(RetainedPrivacy(), panel({"original": {part: made[part]}})) == {}
    other = {"train-retain": made["train-retain"], "test-forget": made["test-retain"]}
    assert values(RetainedPrivacy(), panel({"original": other})) == {(AREA, "train-retain", "original"): 1}


def models(seed: int, golds: int, **fits: float) -> dict[str, Parts]:
    """Models whose residuals on 150 kept samples are a share of those on 100 held-out ones; golds' share is 0.8."""
    rng = np.random.default_rng(seed)

    def model(share: float) -> Parts:
        return lossy(list(np.abs(share * rng.normal(size=150))), list(np.abs(rng.normal(size=100))))

    found = {"original": model(0.8)} | {f"gold {n}".removesuffix(" 0"): model(0.8) for n in range(golds)}
    return found | {name: model(share) for name, share in fits.items()}


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_learnt_what_was_kept_by_heart_is_caught(seed: int) -> None:
    found = measures(RetainedPrivacy(), panel(models(seed, 19, overfitted=0.2)))
    mine, change = (found[(metric, "train-retain", "overfitted")] for metric in (AREA, CHANGE))
    assert mine.p == change.p == 1 / 20 and mine.value is not None and mine.value > 0.8
    assert change.interval is not None and change.interval[0] > 0.1
    before = found[(AREA, "train-retain", "original")].value
    assert change.value == pytest.approx(mine.value - (before or 0))


@pytest.mark.slow
def test_one_more_gold_is_suspected_once_in_twenty() -> None:
    caught = np.zeros(2)
    for seed in range(200):
        made = models(seed, 20)
        made["mine"] = made.pop("gold 19")
        found = measures(RetainedPrivacy(), panel(made))
        caught += [found[(metric, "train-retain", "mine")].p == 1 / 20 for metric in (AREA, CHANGE)]
    assert (caught <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5).all()


def test_explanations() -> None:
    found = measures(RetainedPrivacy(), panel(models(0, 3)))
    assert found[(AREA, "train-retain", "gold")].note == "150 against 100 held-out samples"
    assert {about.metric for about in RetainedPrivacy.about} == {metric for metric, _, _ in found}
    assert not any(isinstance(metric, RetainedPrivacy) for metric in default_metrics())
