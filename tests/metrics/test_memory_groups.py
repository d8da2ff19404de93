"""Groups of never-seen samples: how much more a new group varies, and how often the innocent are suspected."""

from __future__ import annotations

import numpy as np
import pytest

from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.metrics.memory_groups import Groups, needed, of_people, of_runs, random_of, widening
from unregress.metrics.memory_slope import memory_kept, null_of, p_value


@pytest.mark.parametrize(("forgotten", "least"), [(1, 40), (2, 20), (5, 20), (10, 20), (50, 100)])
def test_how_many_never_seen_samples_are_needed(forgotten: int, least: int) -> None:
    assert needed(forgotten) == least


def test_the_widening_is_the_ratio_of_variances() -> None:
    # 10 of 30: a group varies by 1/10 - 1/30 = 2/30 about the pool, a new one by 1/10 + 1/30 = 4/30.
    many = widening(1 / 10, 1 / 30, 1 / 10, 10**9)
    assert many == pytest.approx(2**0.5)
    # Two people of equal size, of four: as two of four samples.
    people = of_people(list("aabbccdd"), list("xxyy"), 2000, np.random.default_rng(0))
    samples = random_of(4, 2, 1, np.random.default_rng(0))
    assert people.widening == pytest.approx(samples.widening, rel=0.02)
    # One stretch of five in a series of fifty is one of ten units.
    assert of_runs(50, [5], 1, np.random.default_rng(0)).widening == pytest.approx(
        random_of(10, 1, 1, np.random.default_rng(0)).widening
    )


def suspected(groups_of: object, pool: int, forgotten: int, people: int, seed: int) -> tuple[float, float]:
    """How often a model without memory leans as far as 2.5 % of the groups do, to either side."""
    rng = np.random.default_rng(seed)
    high, low, times = 0, 0, 400
    for _ in range(times):
        size = pool + forgotten
        shared = np.repeat(rng.normal(size=-(-size // people)), people)[:size]
        moved, missed = 0.3 * rng.normal(size=size), rng.normal(size=size) + (shared if people > 1 else 0)
        target, left_out = missed, np.zeros(size)
        prediction = moved + (0.3 * shared if people > 1 else 0)
        found: Groups = groups_of(rng)  # type: ignore[operator]
        scale = float(np.mean(target[:pool] ** 2))
        null = null_of(prediction[:pool], target[:pool], left_out[:pool], found.positions, scale, found.widening)
        slope = memory_kept(prediction[pool:], target[pool:], left_out[pool:], scale)
        high += p_value(slope, null.slopes) <= TABLE_LEVEL
        low += p_value(-slope, -null.slopes) <= TABLE_LEVEL
    return high / times, low / times


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "forgotten", "people"), [(120, 60, 1), (40, 20, 1), (120, 20, 1), (200, 50, 5)])
def test_samples_without_memory_are_suspected_as_often_as_stated(pool: int, forgotten: int, people: int) -> None:
    """Unwidened, 60 of 120 were suspected in 14 % to either side."""
    names = [row // people for row in range(pool)]
    asked = (
        [-(row // people) for row in range(1, forgotten + 1)]
        if people == 1
        else [row // people for row in range(forgotten)]
    )

    def groups(rng: np.random.Generator) -> Groups:
        return of_people(names, asked, 300, rng) if people > 1 else random_of(pool, forgotten, 300, rng)

    # 2.5 % and the noise of 400 draws: above 5.5 % once in a thousand.
    assert max(suspected(groups, pool, forgotten, people, seed=5)) <= 0.055
