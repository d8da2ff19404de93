"""Memory kept by retrained models: arithmetic by hand, and a test that is exact for one more gold."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from support.hand_panels import measures, panel, seen, values
from unregress.evidence import Figure
from unregress.metrics import Memory, default_metrics
from unregress.metrics.memory import compared_with_golds, lean
from unregress.metrics.predictions import Values

PLACE = "memory", "train-forget"


def one_row(**models: float) -> dict[tuple[str, str, str], float | None]:
    """Of one forgotten sample with the target 8, by golds at 0, 2 and 1."""
    parts = {name: {"train-forget": seen([answer], [8.0])} for name, answer in models.items()}
    return values(Memory(), panel(parts))


GOLDS = {"gold": 0.0, "gold 2": 2.0, "gold 3": 1.0}


def test_one_row_by_hand() -> None:
    """The golds' mean is 1, so (8 - 1)² = 49, of which c is a twenty-fifth; each gold is compared with the others."""
    found = one_row(original=8.0, mine=5.0, **GOLDS)
    c = 49 / 25
    assert found[(*PLACE, "original")] == pytest.approx(7 * 7 / (49 + c))
    assert found[(*PLACE, "mine")] == pytest.approx(4 * 7 / (49 + c))
    assert found[(*PLACE, "gold")] == pytest.approx(-1.5 * 6.5 / (6.5**2 + c))
    assert found[(*PLACE, "gold 2")] == pytest.approx(1.5 * 7.5 / (7.5**2 + c))
    assert found[(*PLACE, "gold 3")] == 0


def test_interval_and_p_by_hand() -> None:
    """4 from the golds' mean, whose deviation of 1 is √(1 + 1/3) for one more; Student's t of 2 has a closed form."""
    models = {"original": 8.0, "mine": 5.0, **GOLDS}
    parts = {name: {"train-forget": seen([answer], [8.0])} for name, answer in models.items()}
    mine = measures(Memory(), panel(parts))[(*PLACE, "mine")]
    t = 4 / sqrt(4 / 3)
    assert mine.p == pytest.approx(1 / 2 - t / (2 * sqrt(2 + t * t)))
    share, reach = 7 / (49 + 49 / 25), 4.302652729911275 * sqrt(4 / 3)  # Student's 97.5 % quantile of 2
    assert mine.interval == pytest.approx(((4 - reach) * share, (4 + reach) * share))
    gold = measures(Memory(), panel(parts))[(*PLACE, "gold")]
    assert (gold.interval, gold.p) == (None, None)


def test_each_of_few_samples_is_placed_among_the_golds() -> None:
    """Errors of the golds on targets 8 and 0: 8, 6, 7 and 0, 2, 1; of mine 6.5 and 1."""
    models = {"original": [8.0, 0.0], "mine": [1.5, 1.0], "constant": [4.0, 4.0]}
    models |= {name: [answer, answer] for name, answer in GOLDS.items()}
    parts = {name: {"train-forget": seen(answer, [8.0, 0.0])} for name, answer in models.items()}
    (figure,) = (each for each in Memory().measure(panel(parts)) if isinstance(each, Figure))
    assert {curve.model: curve.y for curve in figure.curves} == {"original": (1, 2 / 3), "mine": (2 / 3, 1 / 3)}
    assert figure.curves[0].x == (1, 2)
    many = {name: {"train-forget": seen([1.0] * 30, [8.0] * 30)} for name in models}
    assert not any(isinstance(each, Figure) for each in Memory().measure(panel(many)))


def test_held_out_samples_say_what_is_typical() -> None:
    parts = {
        name: {"train-forget": seen([answer], [8.0]), "test-retain": seen([0.0, 0.0], [3.0, 4.0])}
        for name, answer in {"original": 8.0, **GOLDS}.items()
    }
    found = values(Memory(), panel(parts))
    assert found[(*PLACE, "original")] == pytest.approx(49 / (49 + (9 + 16) / 2 / 25))


def test_unknown_outputs_are_left_out() -> None:
    target = np.array([[8.0, np.nan], [8.0, 3.0]])
    answers = {"original": 8.0, "mine": 5.0, **GOLDS}
    parts = {
        name: {"train-forget": seen(np.array([[answer, 77.0 * answer], [answer, 3.0]]), target, [0.0, 0.0])}
        for name, answer in answers.items()
    }
    found = values(Memory(), panel(parts))
    # Known: twice (8 - 1)² = 49 and once (3 - 3)² = 0, each with c = (49 + 49 + 0) / 3 / 25.
    assert found[(*PLACE, "mine")] == pytest.approx(2 * 4 * 7 / (98 + 3 * 98 / 75))


def test_golds_that_are_alike_and_targets_that_they_hit() -> None:
    assert one_row(original=8.0, mine=1.0, gold=1.0, **{"gold 2": 1.0})[(*PLACE, "mine")] == 0
    assert one_row(original=8.0, mine=8.0, gold=8.0, **{"gold 2": 8.0})[(*PLACE, "mine")] is None
    alike = lean(np.array([1.0]), np.array([8.0]), np.array([[1.0], [1.0]]))
    assert alike == (0, 0)


@pytest.mark.parametrize("golds", [0, 1])
def test_two_golds_are_needed(golds: int) -> None:
    few = dict(list(GOLDS.items())[:golds])
    assert one_row(original=8.0, **few) == {}


def test_numbers_beyond_double_precision_when_squared() -> None:
    small = one_row(original=8.0, mine=5.0, **GOLDS)
    huge = {name: 2.0**600 * answer for name, answer in {"original": 8.0, "mine": 5.0, **GOLDS}.items()}
    parts = {name: {"train-forget": seen([answer], [8 * 2.0**600])} for name, answer in huge.items()}
    assert values(Memory(), panel(parts)) == pytest.approx(small)


def test_is_measured_by_default() -> None:
    assert any(isinstance(metric, Memory) for metric in default_metrics())


@given(st.integers(0, 2**31), st.floats(-3, 3), st.sampled_from([2.0**-8, 2.0**8]))
def test_shift_and_unit_are_nothing(seed: int, shift: float, unit: float) -> None:
    rng = np.random.default_rng(seed)
    golds, model, target = rng.normal(size=(5, 4)), rng.normal(size=4), rng.normal(size=4)
    one = compared_with_golds(model, target, golds, 1.0)
    moved = compared_with_golds(unit * (model + shift), unit * (target + shift), unit * (golds + shift), unit**2)
    assert moved[:3] == pytest.approx(one[:3], rel=1e-6, abs=1e-9)


def correlated(rng: np.random.Generator, models: int, samples: int) -> Values:
    """Normal deviations that the samples share in part."""
    return rng.normal(size=(models, 1)) + rng.normal(size=(models, samples))


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("residual", [0.5, 3.0])
def test_p_of_one_more_gold_is_uniform(samples: int, residual: float) -> None:
    """Exact for normal golds, though the direction is estimated from five: 5 and 50 % of 2,000, within 4 errors."""
    rng, p = np.random.default_rng(samples), []
    for _ in range(2000):
        models, target = correlated(rng, 6, samples), residual * rng.normal(size=samples)
        found = lean(models[5], target, models[:5])
        p.append(student.sf(found.amount / found.error, 4))
    for level in (0.05, 0.5):
        assert np.mean(np.array(p) < level) == pytest.approx(level, abs=4 * sqrt(level * (1 - level) / 2000))


def test_errors_whose_squares_overflow_leave_no_memory() -> None:
    """Of new samples that are off by 1e299: beside them, nothing of the forgotten ones is known."""
    parts = {
        name: {"train-forget": seen([answer], [8.0]), "test-retain": seen([0.0], [1e299])}
        for name, answer in {"original": 8.0, **GOLDS}.items()
    }
    found = measures(Memory(), panel(parts))[(*PLACE, "original")]
    assert (found.value, found.interval) == (0.0, (0.0, 0.0))
