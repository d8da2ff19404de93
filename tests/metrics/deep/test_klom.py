"""KLoM's arithmetic by hand, its null by simulation, and the whole on a table that a small network learns by heart."""

from __future__ import annotations

import numpy as np
import pytest

from support.memorised_noise import METHODS, measured, panel_of
from unregress.errors import SettingError
from unregress.methods import Retrain
from unregress.metrics.deep.gaussian_kl import among_golds, divergence, over_samples, permutation_test
from unregress.metrics.deep.klom import KLoM
from unregress.training.recipe import Recipe

pytestmark = pytest.mark.slow


def test_by_hand() -> None:
    """Two models of two samples a side.

    Unlearned: sample 1 at 0 and 2 (mean 1, variance 2), sample 2 at 5 and 5 (mean 5, variance 0): pooled variance 1.
    Golds: 3 and 5 (mean 4, variance 2), 4 and 6 (mean 5, variance 2): pooled variance 2.
    KL = (log(2 / 1) + (1 + gap²) / 2 - 1) / 2 with gaps 3 and 0.
    """
    found = divergence(np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    np.testing.assert_allclose(found, [(np.log(2) + 10 / 2 - 1) / 2, (np.log(2) + 1 / 2 - 1) / 2])


def test_outputs_have_their_own_scale() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8, 30, 2))
    each = [divergence(a[..., k], b[..., k]) for k in (0, 1)]
    np.testing.assert_allclose(divergence(a, b), np.mean(each, axis=0))
    scale, shift = np.array([1.0, 1000.0]), np.array([5.0, -7.0])
    np.testing.assert_allclose(divergence(a * scale + shift, b * scale + shift), divergence(a, b), rtol=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [(20, 20), (10, 10), (6, 12)])
def test_the_null_is_what_the_docstring_says(ours: int, theirs: int) -> None:
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.5, 2, size=2000)
    found = [
        divergence(scale * rng.normal(size=(ours, 2000)), scale * rng.normal(size=(theirs, 2000))).mean()
        for _ in range(20)
    ]
    assert np.mean(found) == pytest.approx((1 / ours + 1 / theirs) / 2, rel=0.02)


def test_a_variance_per_sample_would_double_the_null() -> None:
    """The 0.11 at N = 20 of the docstring."""
    rng = np.random.default_rng(2)
    # As outputs of a single sample, they are pooled over nothing.
    (found,) = divergence(*rng.normal(size=(2, 20, 1, 40000)))
    assert pytest.approx(0.1147, abs=1e-4) == ((20 - 1) * (1 + 2 / 20) / (20 - 3) - 1) / 2
    assert found == pytest.approx(0.1147, rel=0.03)


COUNT, SAMPLES = 10, 200
BASIS = np.random.default_rng(9).normal(size=(5, SAMPLES))
DRAWS = {
    "sample by sample": lambda rng: rng.normal(size=(COUNT, SAMPLES)),
    "all together": lambda rng: rng.normal(size=(COUNT, 1)) + 1e-9 * rng.normal(size=(COUNT, SAMPLES)),
    "half and half": lambda rng: rng.normal(size=(COUNT, 1)) + rng.normal(size=(COUNT, SAMPLES)),
    "in five ways": lambda rng: rng.normal(size=(COUNT, 5)) @ BASIS,
}


@pytest.mark.parametrize(("kind", "expected"), [("sample by sample", 0.1), ("all together", 0.2714)])
def test_what_golds_say_of_each_other_in_closed_form(kind: str, expected: float) -> None:
    """N = M = 10.  Sample by sample 1 / N.  All together, ((M - 1) / (M - 3) × 1.2 - 1) / 2: the mean of an F ratio."""
    rng = np.random.default_rng(3)
    assert pytest.approx(0.2714, abs=1e-4) == (9 / 7 * 1.2 - 1) / 2
    truth = [divergence(DRAWS[kind](rng), DRAWS[kind](rng)).mean() for _ in range(6000)]
    assert np.mean(truth) == pytest.approx(expected, rel=0.1)
    found = [among_golds(DRAWS[kind](rng), rng, draws=100).mean() for _ in range(60)]
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("kind", DRAWS)
def test_the_golds_value_is_that_of_as_many_golds_more(kind: str) -> None:
    """Mean and 95 % quantile over samples, and the interval that holds 95 of 100."""
    rng = np.random.default_rng(4)
    truth = np.stack([divergence(DRAWS[kind](rng), DRAWS[kind](rng)) for _ in range(1500)])
    for level in (None, 0.95):
        expected = over_samples(truth, level)
        found, covered = [], []
        for _ in range(40):
            drawn = over_samples(among_golds(DRAWS[kind](rng), rng, draws=100), level)
            low, high = np.quantile(drawn, [0.025, 0.975])
            found.append(drawn.mean())
            covered.append(np.mean((expected >= low) & (expected <= high)))
        assert np.mean(found) == pytest.approx(expected.mean(), rel=0.1)
        assert 0.84 < np.mean(covered) < 0.985


def test_the_golds_value_has_no_unit_and_no_place() -> None:
    golds = DRAWS["half and half"](np.random.default_rng(5))
    place = np.random.default_rng(6).normal(size=(1, SAMPLES)) * 50
    once, again = (among_golds(each, np.random.default_rng(7), draws=3) for each in (golds, 1000 * golds + place))
    assert once.shape == (3, SAMPLES)
    np.testing.assert_allclose(once, again, rtol=1e-6)


def test_the_permutation_test_orders_deals_as_the_divergence_does() -> None:
    """All 20 deals of 3 + 3 models: the p-value is the rank among them, and 1/20 for the farthest apart."""
    from itertools import combinations

    rng = np.random.default_rng(4)
    models = rng.normal(size=(6, 40, 2))
    deals = [(list(k), [i for i in range(6) if i not in k]) for k in combinations(range(6), 3)]
    means = np.array([divergence(models[a], models[b]).mean() for a, b in deals])
    for place in (int(means.argmax()), int(np.argsort(means)[10]), int(means.argmin())):
        a, b = deals[place]
        exact = np.mean(means >= means[place] * (1 - 1e-12))
        assert permutation_test(models[a], models[b], rng, draws=4000) == pytest.approx(exact, abs=0.03)


def test_the_permutation_test_is_fair_and_sees_a_shift() -> None:
    rng = np.random.default_rng(5)
    ps = []
    for _ in range(200):
        # Models differ as a whole, not only sample by sample.
        a, b = rng.normal(size=(2, 6, 30)) + rng.normal(size=(2, 6, 1))
        ps.append(permutation_test(a, b, rng, draws=99))
    assert np.mean(np.array(ps) <= 0.1) == pytest.approx(0.1, abs=0.06)
    a, b = rng.normal(size=(2, 6, 30))
    assert permutation_test(a + 3, b, rng, draws=999) <= 0.01


def test_settings_are_checked() -> None:
    for changes in ({"models": 3}, {"methods": {}}, {"workers": 0}):
        with pytest.raises(SettingError):
            KLoM(**({"recipe": Recipe(), "methods": METHODS} | changes))  # type: ignore[arg-type]


def test_a_method_of_nobody_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(SettingError, match="nobody"):
        list(KLoM(recipe=Recipe(), methods={"nobody": Retrain()}).measure(panel_of()))


def test_end_to_end() -> None:
    """Originals know the noise by heart, and answer forgotten samples unlike golds; Retrain makes more golds."""
    found = measured("klom")
    for name, part in (("FineTune", "train-forget"), ("original", "train-forget")):
        assert found["klom", part, name].value > 10 * found["klom", part, "retrained"].value
        assert found["klom", part, name].p is not None and found["klom", part, name].p < 0.05
    again, floor = found["klom", "train-forget", "again"], found["klom", "train-forget", "retrained"]
    assert again.value < found["klom", "train-forget", "FineTune"].value / 10 and again.p > 0.02
    assert floor.value == pytest.approx(1 / 6, rel=0.5) and floor.interval is not None
    assert {measure.note for measure in found.values()} == {"6 models a side"}
    assert {part for metric, part, _ in found if metric == "klom-95"} == {"train-retain", "train-forget", "test-retain"}
