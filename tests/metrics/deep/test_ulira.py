"""U-LiRA's arithmetic against a slow loop, its null by simulation, and the whole where a network learns by heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from torch.utils.data import TensorDataset

from support.memorised_noise import METHODS, case_of_heart, measured, panel_of
from unregress.data.request import Mask
from unregress.errors import DataError, SettingError
from unregress.methods import Retrain
from unregress.metrics.deep.lira import (
    flip_tests,
    halves,
    interval,
    log_ratios,
    paired,
    pseudo_values,
    signals,
    told_apart,
)
from unregress.metrics.deep.ulira import ULiRA, half_of
from unregress.metrics.deep.worst_case import LEVELS
from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc
from unregress.training.recipe import Recipe


def random_halves(models: int, samples: int, rng: np.random.Generator) -> Mask:
    return halves(samples, np.arange(samples // 2), models, rng)


@pytest.mark.parametrize("samples", [40, 41])
def test_halves_are_balanced(samples: int) -> None:
    targets = np.array([1, 5, 7, 20, 33, 39])
    has = halves(samples, targets, 8, np.random.default_rng(0))
    assert has.shape == (8, samples)
    assert (has.sum(axis=0) == 4).all() and (has[0::2] != has[1::2]).all()
    assert (has[:, targets].sum(axis=1) == 3).all()
    assert set(has.sum(axis=1)) <= {samples // 2, samples - samples // 2}
    assert len({row.tobytes() for row in has}) == 8


def test_signals_by_hand() -> None:
    """Two outputs with residuals 1 and -3: mean -1, mean size 2.  The mean size is (2 + 0) / 2 = 1, its floor 0.001."""
    found = signals(np.array([[[1.0, -3.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(found, [[[-1, np.log(2)], [0, np.log(1e-3)]]])
    np.testing.assert_allclose(signals(np.array([[1.0, -3.0]]))[0, :, 0], [1, -3])


def slow(values: Values, has: Mask, model: int, sample: int) -> float:
    """The log likelihood ratio of one model and sample, from all pairs of models but its own."""
    others = [k for k in range(len(has)) if k // 2 != model // 2]
    logs = []
    for side in (True, False):
        total, count = np.zeros((values.shape[2],) * 2), 0
        for i in range(has.shape[1]):
            rows = values[[k for k in others if has[k, i] == side], i]
            total += (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))
            count += len(rows) - 1
        mean = values[[k for k in others if has[k, sample] == side], sample].mean(axis=0)
        logs.append(multivariate_normal(mean, total / count).logpdf(values[model, sample]))
    return float(logs[0] - logs[1])


@pytest.mark.parametrize("width", [1, 2, 3])
def test_scores_agree_with_a_slow_loop(width: int) -> None:
    rng = np.random.default_rng(width)
    has = random_halves(8, 12, rng)
    values = rng.normal(size=(8, 12, width)) * (1 + np.arange(width)) + has[:, :, None]
    had, unseen = log_ratios(*paired(values, has))
    for model in range(8):
        for sample in range(12):
            found = (had if has[model, sample] else unseen)[model // 2, sample]
            assert found == pytest.approx(slow(values, has, model, sample), rel=1e-6, abs=1e-6)


def test_models_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="pairs"):
        paired(np.zeros((2, 3, 1)), np.ones((2, 3), dtype=np.bool_))


def test_the_null_is_a_half_and_the_interval_covers_it() -> None:
    """Models that differ as a whole and sample by sample, and know nothing of who had what."""
    rng = np.random.default_rng(0)
    shares, covered = [], []
    for _ in range(200):
        has = random_halves(8, 40, rng)
        residual = rng.normal(size=(8, 40)) + 0.5 * rng.normal(size=(8, 1)) + 3 * rng.normal(size=(1, 40))
        scores = log_ratios(*paired(signals(residual), has))
        by_pair = told_apart(*scores)
        share, overall = by_pair.mean(), auc(scores[0].ravel(), scores[1].ravel())
        limits = [interval(share, by_pair), interval(overall, pseudo_values(*scores))]
        shares.append((share, overall))
        covered.append([low <= 0.5 <= high for low, high in limits])
    error = np.std(shares, axis=0) / 200**0.5
    assert (np.abs(np.mean(shares, axis=0) - 0.5) < 3 * error).all()
    # 95 of 100, give or take three standard errors of 200 draws.
    assert (np.abs(np.mean(covered, axis=0) - 0.95) < 0.046).all()


def test_who_knows_by_heart_is_told_apart() -> None:
    rng = np.random.default_rng(1)
    has = random_halves(16, 100, rng)
    noise = 3 * rng.normal(size=(1, 100))
    residual = np.where(has, 0.05, 1.0) * (noise + rng.normal(size=(16, 100)))
    within = told_apart(*log_ratios(*paired(signals(residual), has)))
    assert within.mean() > 0.95 and interval(within.mean(), within)[1] <= 1


def p_of(sides: tuple[Values, Values], rng: np.random.Generator, **more: int) -> float:
    """P-value of the share over all samples."""
    share = flip_tests(*sides, lambda had, unseen: np.array([told_apart(had, unseen).mean()]), rng, **more)
    return float(share.p[0])


def test_the_flip_test_is_fair_and_sees_what_is_there() -> None:
    rng = np.random.default_rng(3)
    ps = []
    for _ in range(200):
        has = random_halves(8, 20, rng)
        residual = rng.normal(size=(8, 20)) + rng.normal(size=(8, 1))
        ps.append(p_of(paired(signals(residual), has), rng))
    # Of 2^4 ways each counts twice: p is a multiple of 1/8, and as likely to be any of them.
    assert set(np.round(np.array(ps) * 8, 9)) <= set(range(1, 9)) and min(ps) == 1 / 8
    assert np.mean(np.array(ps) <= 0.25) == pytest.approx(0.25, abs=0.09)
    has = random_halves(16, 30, rng)
    sides = paired(signals(rng.normal(size=(16, 30)) + 2 * has), has)
    assert p_of(sides, rng) == 2 / 2**8
    assert p_of(sides, rng, draws=99) <= 3 / 100


def test_pseudo_values_by_hand() -> None:
    """Pairs (1 against 0) and (2 against 3).  Over all, of 4 comparisons 1 > 0 and 2 > 0 hold: 0.5.

    Without the first pair the AUC is 0, without the second 1: pseudo-values 2 * 0.5 - 0 and 2 * 0.5 - 1.
    """
    np.testing.assert_allclose(pseudo_values(np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])), [1.0, 0.0])


def test_units_and_names_of_the_halves_say_nothing() -> None:
    rng = np.random.default_rng(2)
    has = random_halves(8, 20, rng)
    residual = rng.normal(size=(8, 20)) + has
    had, unseen = log_ratios(*paired(signals(residual), has))
    scaled = log_ratios(*paired(signals(1000 * residual), has))
    np.testing.assert_allclose(scaled, (had, unseen), rtol=1e-5, atol=1e-5)
    turned = log_ratios(*paired(signals(residual), ~has))
    np.testing.assert_allclose(turned, (-unseen, -had), atol=1e-9)


def test_models_that_never_vary_are_equal_to_the_attacker() -> None:
    has = random_halves(6, 10, np.random.default_rng(0))
    assert (told_apart(*log_ratios(*paired(signals(np.zeros((6, 10))), has))) == 0.5).all()


def test_a_half_is_a_case_of_its_own() -> None:
    case = case_of_heart()
    whole = case.splits.train
    assert isinstance(whole, TensorDataset)
    has, targets = np.arange(60) % 2 == 1, np.array([3, 4, 9])
    half = half_of(replace(case, splits=replace(case.splits, train_eval=whole)), has, targets)
    assert half.requested.size == 30 and half.requested.forget == (1, 4)
    for view in (half.splits.train, half.splits.train_eval):
        assert isinstance(view, TensorDataset)
        assert (view.tensors[0] == whole.tensors[0][1::2]).all() and (view.tensors[1] == whole.tensors[1][1::2]).all()


def test_settings_are_checked() -> None:
    for changes in ({"models": 4}, {"models": 7}, {"share": 0.0}, {"share": 1.0}, {"methods": {}}, {"workers": 0}):
        with pytest.raises(SettingError):
            ULiRA(**({"recipe": Recipe(), "methods": METHODS} | changes))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="nobody"):
        list(ULiRA(recipe=Recipe(), methods={"nobody": Retrain()}).measure(panel_of()))
    with pytest.raises(DataError, match="four or more"):
        list(ULiRA(recipe=Recipe(), methods=METHODS, share=0.01).measure(panel_of()))


@pytest.mark.slow
def test_end_to_end() -> None:
    """Who learnt noise by heart is told from who never saw it; who retrained is not."""
    found = measured("ulira")
    nothing, again = found["ulira", "random", "original"], found["ulira", "random", "again"]
    assert nothing.p == 2 / 2**4 and again.p > 0.2
    assert nothing.value > 0.7 and nothing.interval is not None and nothing.interval[0] > 0.5
    assert again.interval is not None and again.interval[0] <= 0.5 <= again.interval[1]
    assert abs(again.value - 0.5) < 0.12 < nothing.value - again.value
    assert found["ulira-auc", "random", "original"].value > 0.7
    few = found["ulira-tpr", "random", "again"]
    assert few.value is None and "scores" in few.note
    for metric in ("ulira-tpr-0.1", "ulira-memorised-tpr", "ulira-epsilon"):
        assert found[metric, "random", "again"].value is None and found[metric, "random", "again"].note


def test_worst_case_end_to_end() -> None:
    """Of noise learnt by heart the most memorised samples are told apart best, and p says so; not of the retrained."""
    found = measured("ulira")
    nothing, again = found["ulira-memorised", "random", "original"], found["ulira-memorised", "random", "again"]
    assert nothing.p is not None and nothing.p <= 0.125 and nothing.value > 0.75
    assert nothing.note == "2 of 24 samples, chosen by the other 6 originals"
    # Of two samples and four pairs, chance alone may make much.
    assert again.interval is not None and again.interval[0] <= 0.5 <= again.interval[1]
    sizes = [found[metric, "random", "original"].value for metric in LEVELS]
    assert sizes == sorted(sizes) and sizes[0] > 0.7
    assert found["ulira-sample-max", "random", "again"].p > 0.1
    assert "without any trace" in found["ulira-sample-max", "random", "again"].note
    assert {about.metric for about in ULiRA.about} == {metric for metric, _, _ in found}
