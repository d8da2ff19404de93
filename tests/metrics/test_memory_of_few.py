"""Memory of single samples: by hand, in any unit, and beside a direct computation."""

from __future__ import annotations

import numpy as np
import pytest

from unregress.metrics.memory_of_few import memory_of_few


def direct(prediction: np.ndarray, target: np.ndarray, golds: np.ndarray) -> float:
    """Sample by sample, as written in the docstring."""
    count, variance = len(golds), golds.var(axis=0, ddof=1)
    found = []
    for n in range(len(target)):
        spread = np.sqrt((4 * variance.mean() + (count - 1) * variance[n]) / (count + 3))
        found.append((abs(golds[:, n].mean() - target[n]) - abs(prediction[n] - target[n])) / spread)
    best = sorted(found)[-int(np.ceil(len(target) / 20)) :]
    return float(np.mean(best))


@pytest.mark.parametrize("samples", [1, 19, 20, 21, 60])
def test_it_is_the_mean_of_the_best_twentieth(samples: int) -> None:
    rng = np.random.default_rng(samples)
    golds, target = rng.normal(size=(5, samples)), 3 * rng.normal(size=samples)
    prediction = golds.mean(axis=0) + 0.5 * rng.normal(size=samples)
    assert memory_of_few(prediction, target, golds) == pytest.approx(direct(prediction, target, golds))


def test_one_sample_known_exactly_stands_out_and_its_mean_does_not() -> None:
    rng = np.random.default_rng(0)
    golds, target = rng.normal(size=(6, 60)), 5 * rng.normal(size=60)
    model, others = golds[0].copy(), golds[1:]
    before = memory_of_few(model, target, others)
    place = int(np.argmax(np.abs(target)))
    model[place] = target[place]
    assert memory_of_few(model, target, others) > 1.5 * before
    assert np.abs(model - target).mean() > 0.9 * np.abs(golds[0] - target).mean()


def test_units_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    golds, target, model = rng.normal(size=(5, 40)), rng.normal(size=40), rng.normal(size=40)
    assert memory_of_few(8 * model + 3, 8 * target + 3, 8 * golds + 3) == pytest.approx(
        memory_of_few(model, target, golds)
    )


def test_unknown_outputs_are_left_out() -> None:
    rng = np.random.default_rng(2)
    golds, target, model = rng.normal(size=(5, 40, 1)), rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    nothing = np.full((40, 1), np.nan)
    both = [np.concatenate([each, each + 9], axis=-1) for each in (model, golds)]
    assert memory_of_few(both[0], np.concatenate([target, nothing], axis=-1), both[1]) == pytest.approx(
        memory_of_few(model, target, golds)
    )


def test_golds_that_agree_to_the_last_digit_give_a_number() -> None:
    target = np.arange(40.0)
    found = memory_of_few(target, target, np.zeros((5, 40)))
    assert np.isfinite(found) and found > 1e5
    assert memory_of_few(np.zeros(40), np.zeros(40), np.zeros((5, 40))) == 0
