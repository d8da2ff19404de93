"""The worst case of U-LiRA: arithmetic by hand, planted memory of a tenth, and the level where there is none."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.planted_halves import planted
from unregress.metrics.deep.lira import log_ratios, paired, signals
from unregress.metrics.deep.worst_case import LEVELS, WorstCase, by_output, most_memorised, sample_auc, worst_case
from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc

pytestmark = pytest.mark.slow


def attacked(seed: int, trace: float, *, samples: int = 100, memory: float = 0.9, models: int = 12) -> WorstCase:
    """Attack models whose residuals keep a share `trace` of what originals remember of a tenth of the samples."""
    rng = np.random.default_rng(seed)
    originals, has = planted(rng, samples=samples, memory=memory, models=models)
    kept, _ = planted(np.random.default_rng(seed), samples=samples, memory=memory * trace, models=models)
    # Made from the originals, but each with deviations of its own.
    unlearned = kept + 0.3 * rng.normal(size=kept.shape)
    chosen = most_memorised(*paired(by_output(originals), has))
    sides = paired(signals(unlearned), has)
    return worst_case(*sides, log_ratios(*sides), chosen, rng)


def test_the_most_memorised_by_hand() -> None:
    """Changes by pair: sample 0 by 1, 1, 1; sample 1 by 5, -5, 0; sample 2 by 0, 0, 2.

    Without pair 0 sums are 2, -5, 2; without pair 1 they are 2, 5, 2; without pair 2 they are 2, 0, 0.
    """
    change = np.array([[1.0, 5.0, 0.0], [1.0, -5.0, 0.0], [1.0, 0.0, 2.0]])[:, :, None]
    chosen = most_memorised(change, np.zeros_like(change), 1 / 3)
    assert chosen.tolist() == [[False, True, False], [False, True, False], [True, False, False]]


def test_outputs_count_in_their_own_units_and_unknown_ones_not_at_all() -> None:
    rng = np.random.default_rng(0)
    had, unseen = rng.normal(size=(2, 4, 30, 2))
    units = np.array([1.0, 1000.0])
    assert (most_memorised(had * units, unseen * units) == most_memorised(had, unseen)).all()
    unknown = np.where(np.array([False, True]), np.nan, had)
    assert (most_memorised(unknown, unseen) == most_memorised(had[..., :1], unseen[..., :1])).all()
    assert most_memorised(had, had).sum(axis=1).tolist() == [3] * 4  # nothing changes, and still as many


@given(st.integers(0, 2**31))
def test_auc_of_a_sample_is_the_auc_over_its_models(seed: int) -> None:
    had, unseen = np.random.default_rng(seed).integers(0, 4, (2, 5, 3)).astype(float)
    expected = [auc(had[:, i], unseen[:, i]) for i in range(3)]
    np.testing.assert_allclose(sample_auc(had, unseen), expected)


def test_the_choice_does_not_depend_on_the_attacked_pair() -> None:
    rng = np.random.default_rng(1)
    had, unseen = rng.normal(size=(2, 6, 50, 1))
    changed = had.copy()
    changed[2] += 100 * rng.normal(size=(50, 1))
    # Units depend on all pairs, but with one output they change no order.
    assert (most_memorised(had, unseen)[2] == most_memorised(changed, unseen)[2]).all()


def test_memory_of_a_tenth_is_seen_where_the_average_hides_it() -> None:
    found = [attacked(seed, 1.0) for seed in range(10)]
    p = np.array([each.flips.p for each in found])
    names = ["ulira", "ulira-memorised", *LEVELS]
    seen = dict(zip(names, (p <= 0.05).mean(axis=0), strict=True))
    assert seen["ulira-memorised"] == 1 and seen["ulira-sample-90"] >= 0.8
    assert seen["ulira"] <= 0.5
    assert np.mean([each.flips.observed[1] for each in found]) > 0.8
    assert all(each.memorised[0] > 0.5 for each in found)


def test_models_without_a_trace_are_suspected_as_often_as_stated() -> None:
    """Though their originals remember, and the unlearned models share the originals' chance deviations."""
    runs = 150
    found = [attacked(seed, 0.0, samples=40) for seed in range(runs)]
    p = np.array([each.flips.p for each in found])
    error = sqrt(0.05 * 0.95 / runs)
    assert ((p <= 0.05).mean(axis=0) <= 0.05 + 3 * error).all()
    mean = np.array([each.flips.observed for each in found]).mean(axis=0)
    assert mean[:2] == pytest.approx([0.5, 0.5], abs=0.03)
    chance = np.array([each.flips.chance for each in found]).mean(axis=0)
    assert mean == pytest.approx(chance, abs=0.03)
    covered = np.mean([low <= 0.5 <= high for low, high in (each.memorised for each in found)])
    assert covered >= 0.95 - 3 * error


def test_the_largest_of_few_models_is_far_from_a_half_by_chance() -> None:
    """What the note says beside it: of six models a side, one of 40 samples is told apart well without any trace."""
    assert attacked(0, 0.0, samples=40).flips.chance[-1] > 0.75


def test_scores_are_those_of_the_chosen_samples() -> None:
    rng = np.random.default_rng(0)
    residual, has = planted(rng, samples=20, memory=0.5)
    sides = paired(signals(residual), has)
    scores = log_ratios(*sides)
    chosen = most_memorised(*paired(by_output(residual), has), 0.25)
    found = worst_case(*sides, scores, chosen, rng)
    expected: list[Values] = [side[chosen] for side in scores]
    assert all(np.array_equal(a, b) for a, b in zip(found.scores, expected, strict=True))
    assert len(found.scores[0]) == 6 * 5
