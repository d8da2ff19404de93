"""The ROC curve's area, its interval and the true positive rate, by hand and against others' code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_curve

from unregress.metrics.predictions import Values
from unregress.metrics.roc import FEWEST, area, area_difference, auc, true_positive_rate

# Few different values, so that ties are everywhere.
scores = arrays(np.float64, st.integers(1, 30), elements=st.integers(-4, 4).map(float))
rates = st.sampled_from([0.01, 0.07, 0.1, 0.29, 0.5, 0.9])


def labelled(members: Values, others: Values) -> tuple[Values, Values]:
    return np.repeat([1.0, 0.0], [len(members), len(others)]), np.concatenate([members, others])


@pytest.mark.parametrize(
    ("members", "others", "expected"),
    [
        # 3 beats both, 2 beats 1 and ties with 2, 0 beats none: 2 + 1.5 + 0 of 6 pairs.
        ([3.0, 2.0, 0.0], [1.0, 2.0], 3.5 / 6),
        ([5.0, 4.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [5.0, 4.0], 0.0),
        ([7.0, 7.0, 7.0], [7.0, 7.0], 0.5),
        ([1.0], [0.0, 2.0], 0.5),
    ],
    ids=["a tie", "all above", "all below", "all tied", "one"],
)
def test_area_by_hand(members: list[float], others: list[float], expected: float) -> None:
    assert auc(np.array(members), np.array(others)) == pytest.approx(expected, abs=1e-15)


@given(scores, scores)
def test_area_is_the_share_of_pairs_and_blind_to_order(members: Values, others: Values) -> None:
    pairs = [(member > other) + (member == other) / 2 for member in members for other in others]
    assert auc(members, others) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auc(members[::-1], np.roll(others, 3)) == pytest.approx(auc(members, others), abs=1e-12)


@given(scores, scores)
def test_area_turns_around_and_ignores_a_change_of_scale(members: Values, others: Values) -> None:
    found = auc(members, others)
    assert auc(others, members) == pytest.approx(1 - found, abs=1e-12)
    assert auc(-members, -others) == pytest.approx(1 - found, abs=1e-12)
    assert auc(np.exp(members), np.exp(others)) == found


@given(scores, scores, rates)
def test_true_positive_rate_equals_scikit_learn(members: Values, others: Values, rate: float) -> None:
    false, true, _ = roc_curve(*labelled(members, others), drop_intermediate=False)
    assert true_positive_rate(members, others, rate) == pytest.approx(true[false <= rate + 1e-12].max(), abs=1e-12)


@pytest.mark.parametrize(
    ("allowed", "share"),
    [
        (0.01, 0.25),  # none of five: above 50 is 60 of the four members
        (0.2, 0.5),  # one of five: above 40 are 60 and 45
        (0.4, 0.75),  # two of five: above 30 are 60, 45 and 35
        (0.59, 0.75),  # still two of five
    ],
)
def test_true_positive_rate_by_hand(allowed: float, share: float) -> None:
    others = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    assert true_positive_rate(np.array([60.0, 45.0, 35.0, 5.0]), others, allowed) == share


def by_definition(members: Values, others: Values) -> tuple[float, float]:
    """The area and DeLong's variance from all pairs."""
    pairs = (members[:, None] > others) + (members[:, None] == others) / 2
    return float(pairs.mean()), float(
        pairs.mean(axis=1).var(ddof=1) / len(members) + pairs.mean(axis=0).var(ddof=1) / len(others)
    )


def bootstrap(members: Values, others: Values, rng: np.random.Generator, *, draws: int = 500) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval, which draws both sides anew, from all pairs."""
    pairs = (members[:, None] > others) + (members[:, None] == others) / 2
    often = [rng.multinomial(len(side), np.full(len(side), 1 / len(side)), draws) for side in (members, others)]
    areas = ((often[0] @ pairs) * often[1]).sum(axis=1) / pairs.size
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def covers(interval: tuple[float, float] | None, truth: float) -> bool:
    assert interval is not None
    return interval[0] <= truth <= interval[1]


many_scores = arrays(np.float64, st.integers(FEWEST, 30), elements=st.integers(-4, 4).map(float))


@given(many_scores, many_scores)
def test_area_and_interval_by_ranks_equal_those_of_all_pairs(members: Values, others: Values) -> None:
    value, variance = by_definition(members, others)
    found = area(members, others)
    assert found.value == auc(members, others) == pytest.approx(value, abs=1e-12)
    assert found.interval is not None and found.interval[0] <= found.value <= found.interval[1]
    if variance > 1e-20:
        center, reach = np.log(value / (1 - value)), 1.959964 * np.sqrt(variance) / (value * (1 - value))
        expected = 1 / (1 + np.exp(-center + reach)), 1 / (1 + np.exp(-center - reach))
        assert found.interval == pytest.approx(expected, abs=1e-6)


@given(many_scores, many_scores)
def test_interval_turns_around_and_ignores_a_change_of_scale(members: Values, others: Values) -> None:
    low, high = area(members, others).interval or (2, 2)
    assert area(others, members).interval == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert area(np.exp(members), np.exp(others)).interval == (low, high)


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.5, 0.7, 0.9], ids=str)
@pytest.mark.parametrize(("count", "against"), [(10, 10), (20, 60), (60, 60)])
def test_interval_covers_at_least_as_often_as_a_bootstrap(truth: float, count: int, against: int) -> None:
    """Of 400 repetitions a share of .95 has a standard error of .011; both see the same samples."""
    rng = np.random.default_rng(1)
    shift = np.sqrt(2) * norm.ppf(truth)
    closed, drawn = [], []
    for _ in range(400):
        members, others = rng.normal(shift, 1, count), rng.normal(0, 1, against)
        closed.append(covers(area(members, others).interval, truth))
        drawn.append(covers(bootstrap(members, others, rng, draws=200), truth))
    assert np.mean(closed) >= np.mean(drawn) - 0.01
    assert 0.9 <= np.mean(closed) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.5, 0.7, 0.9], ids=str)
@pytest.mark.parametrize("rounding", [6, 0], ids=["few ties", "many ties"])
def test_interval_is_a_bootstraps_where_samples_are_many(truth: float, rounding: int) -> None:
    rng = np.random.default_rng(3)
    members = rng.normal(np.sqrt(2) * norm.ppf(truth), 1, 400).round(rounding)
    others = rng.normal(0, 1, 600).round(rounding)
    low, high = area(members, others).interval or (2, 2)
    drawn = bootstrap(members, others, rng, draws=4000)
    assert high - low == pytest.approx(drawn[1] - drawn[0], rel=0.06)
    assert (low, high) == pytest.approx(drawn, abs=0.004)


def test_interval_is_as_wide_as_theory_says() -> None:
    """Without ties and differences the AUC's variance is (n + m + 1) / (12 n m) (Mann and Whitney 1947)."""
    source = np.random.default_rng(2)
    low, high = area(source.normal(size=600), source.normal(size=100)).interval or (2, 2)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.sqrt(701 / (12 * 600 * 100)), rel=0.1)


def test_interval_of_scores_that_are_all_apart_or_all_the_same_has_no_width() -> None:
    above, below = np.arange(10.0) + 20, np.arange(12.0)
    assert area(above, below) == (1, (1, 1))
    assert area(below, above) == (0, (0, 0))
    assert area(np.ones(10), np.ones(11)) == (0.5, (0.5, 0.5))


@pytest.mark.parametrize(("count", "against"), [(9, 50), (50, 9), (1, 1)])
def test_few_samples_have_an_area_and_no_interval(count: int, against: int) -> None:
    assert area(np.arange(count) + 0.5, np.arange(against) + 0.0).interval is None


def test_a_million_scores_have_the_area_that_ranks_give() -> None:
    """Mann and Whitney's U by the ranks' sum, and an interval about it as wide as theory says."""
    rng = np.random.default_rng(0)
    members, others = rng.normal(size=10_000), rng.normal(size=990_000)
    ranks = rankdata(np.concatenate([members, others]))[:10_000]
    found = area(members, others)
    assert found.value == pytest.approx((ranks.sum() - 10_000 * 10_001 / 2) / (10_000 * 990_000), abs=1e-12)
    low, high = found.interval or (2, 2)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.sqrt(1_000_001 / (12 * 10_000 * 990_000)), rel=0.05)


def test_difference_of_areas_by_hand() -> None:
    """Members 1 and 3 of others 0 and 2: 3 of 4 pairs.  Then 1 and 1: 2 of 4."""
    first, second = (np.array([1.0, 3.0]), np.array([0.0, 2.0])), (np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    assert area_difference(first, second) == (-0.25, None)
    assert area_difference(first, first).value == 0


@given(st.integers(0, 2**31))
def test_difference_of_areas_is_one_area_less_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    members, others = rng.integers(0, 5, (2, 12)).astype(float), rng.integers(0, 5, (2, 15)).astype(float)
    found = area_difference((members[0], others[0]), (members[1], others[1]))
    assert found.value == pytest.approx(auc(members[1], others[1]) - auc(members[0], others[0]), abs=1e-12)
    order, other = rng.permutation(12), rng.permutation(15)
    again = area_difference((members[0, order], others[0, other]), (members[1, order], others[1, other]))
    assert again.interval == pytest.approx(found.interval)


def test_difference_of_areas_is_covered_and_its_width_is_that_of_the_pairing() -> None:
    """Scores of one sample under two models have much in common, which cancels: 95 of 100, within 3 errors of 400."""
    rng, covered, widths = np.random.default_rng(0), 0, []
    truth = norm.cdf(1 / 2**0.5) - norm.cdf(0.5 / 2**0.5)
    for _ in range(400):
        common = [0.9 * rng.normal(size=n) for n in (60, 80)]

        def drawn(shift: float, common: list[Values] = common) -> tuple[Values, Values]:
            noise = [0.19**0.5 * rng.normal(size=len(each)) for each in common]
            return shift + common[0] + noise[0], common[1] + noise[1]

        low, high = area_difference(drawn(0.5), drawn(1.0)).interval or (0, 0)
        covered += low <= truth <= high
        widths.append(high - low)
    assert abs(covered / 400 - 0.95) < 3 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean(widths) < 0.15  # of independent scores 0.25
