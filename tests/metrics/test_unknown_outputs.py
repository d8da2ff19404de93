"""Several outputs of which some are not known (NaN in the target): measured over what is known, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from support.hand_panels import panel, values
from unregress.errors import DataError, ModelError
from unregress.metrics import (
    AttackAUC,
    DeletionAttack,
    Deviation,
    EnergyDistance,
    Errors,
    Metric,
    RetainedPrivacy,
    Wasserstein,
)
from unregress.metrics.base import Panel
from unregress.metrics.deep.gaussian_kl import among_golds, differ, divergence, permutation_test
from unregress.metrics.deep.lira import signals
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.wasserstein import sorted_w1, w1

NAN = np.nan
TARGET = np.array([[1.0, 10.0], [2.0, NAN], [NAN, 30.0]])
UNKNOWN = np.isnan(TARGET)
GOLD = np.array([[2.0, 14.0], [2.0, 77.0], [88.0, 30.0]])  # errors 1, 4, 0, 0
OTHER = np.array([[0.0, 16.0], [4.0, -5.0], [-6.0, 30.0]])
MODEL = np.array([[4.0, 8.0], [5.0, 1e9], [-1e9, 31.0]])  # errors 3, 2, 3, 1


def about(prediction: Values, target: Values = TARGET) -> Predictions:
    return Predictions(
        index=np.arange(len(target)),
        prediction=prediction,
        target=target,
        loss=np.nanmean(np.abs(prediction - target), axis=1),
    )


def asked(**changes: Values) -> Panel:
    answers = {"original": MODEL, "model": OTHER, "gold": GOLD, "gold 2": OTHER} | changes
    parts = ("train-retain", "train-forget", "test-retain")
    return panel({name: {part: about(each) for part in parts} for name, each in answers.items()})


def value(metric: Metric, name: str, model: str = "original") -> float | None:
    return values(metric, asked())[name, "train-forget", model]


def test_errors_are_means_over_the_known() -> None:
    assert value(Errors(), "mae") == 9 / 4
    assert value(Errors(), "rmse") == pytest.approx((23 / 4) ** 0.5)


def test_the_loss_repeats_an_error_over_the_known() -> None:
    assert {name for name, _, _ in values(Errors(), asked())} == {"mae", "rmse"}


def test_distances_are_over_the_known() -> None:
    """To the first gold: first output {4, 5} against {2, 2}, second {8, 31} against {14, 30}; pairs 2, 3, 6, 1."""
    assert w1(about(MODEL).comparable, about(GOLD).comparable) == (2 + 3 + 6 + 1) / 4
    # Residuals, sorted: {3, 3} against {0, 1}, {-2, 1} against {0, 4}.
    ordered = (np.sort(each - TARGET, axis=0) for each in (MODEL, GOLD))
    assert sorted_w1(*ordered) == (3 + 2 + 2 + 3) / 4
    found = values(Wasserstein(), asked(**{"gold 2": GOLD}))
    assert found["w1", "train-forget", "original"] == 12 / 4
    assert found["w1-residual", "train-forget", "original"] == 10 / 4
    found = values(Deviation(), asked(**{"gold 2": GOLD}))
    assert found["paired", "train-forget", "original"] == 12 / 4
    # 2 / 1, 6 / 10, 3 / 2, 1 / 30: between the second and third.
    assert found["relative-deviation", "train-forget", "original"] == pytest.approx((0.6 + 1.5) / 2)


def test_an_output_counts_by_how_much_of_it_is_known() -> None:
    """Distance 1 of three known values of one output, distance 5 of a single one of the other."""
    first = np.array([[0.0, 0.0], [0.0, NAN], [0.0, NAN]])
    second = first + np.array([1.0, 5.0])
    assert w1(first, second) == pytest.approx((3 * 1 + 1 * 5) / 4)
    assert sorted_w1(first, second) == (3 * 1 + 1 * 5) / 4


METRICS = (
    Errors(),
    Wasserstein(),
    EnergyDistance(),
    Deviation(),
    AttackAUC(),
    DeletionAttack(),
    RetainedPrivacy(),
)


def everything(panel: Panel) -> list[object]:
    return [finding for metric in METRICS for finding in metric.measure(panel)]


def test_what_is_predicted_of_the_unknown_changes_nothing() -> None:
    changed = {name: np.where(UNKNOWN, 123.0, each) for name, each in (("model", OTHER), ("gold", GOLD))}
    assert everything(asked(**changed)) == everything(asked())


def test_an_output_of_which_nothing_is_known_changes_nothing() -> None:
    def wider(seen: Predictions) -> Predictions:
        prediction = np.c_[seen.prediction, np.arange(3) ** 2]
        return replace(seen, prediction=prediction, target=np.c_[seen.target, np.full(3, NAN)])

    known = asked()
    subjects = (replace(s, parts={name: wider(part) for name, part in s.parts.items()}) for s in known.subjects)
    assert everything(replace(known, subjects=tuple(subjects))) == everything(known)


@pytest.mark.parametrize(
    "target",
    [[1.0, NAN, 3.0], [[1.0], [NAN], [3.0]], [[1.0, 2.0], [NAN, NAN], [3.0, 4.0]], [[1.0, 2.0], [np.inf, NAN], [3, 4]]],
    ids=["single", "single in its axis", "nothing known", "infinite"],
)
def test_samples_without_any_known_output_are_refused(target: list[float]) -> None:
    true = np.array(target, dtype=np.float64)
    with pytest.raises(DataError, match=r"target of 1 samples.* the first at position 1"):
        Predictions(index=np.arange(3), prediction=np.zeros_like(true), target=true, loss=np.zeros(3))


def test_a_loss_that_does_not_leave_the_unknown_out_is_named() -> None:
    with pytest.raises(ModelError) as refused:
        replace(about(GOLD), loss=np.abs(GOLD - TARGET).mean(axis=1))
    assert "unknown outputs" in refused.value.remedy


def test_where_all_is_known_nothing_is_copied() -> None:
    seen = about(GOLD, np.ones((3, 2)))
    assert seen.known is None and seen.comparable is seen.prediction
    assert np.shares_memory(seen.over_known(seen.target), seen.target)


def gold_answers(count: int, seed: int) -> Values:
    return np.random.default_rng(seed).normal(size=(count, 40, 2))


def test_divergence_is_over_known_outputs() -> None:
    """The first output known of all samples, the second of every other one."""
    unknown = np.zeros((40, 2), dtype=bool)
    unknown[::2, 1] = True
    ours, theirs = (np.where(unknown, NAN, gold_answers(5, seed)) for seed in (0, 1))
    first = divergence(ours[..., :1], theirs[..., :1])
    second = divergence(ours[:, 1::2, 1:], theirs[:, 1::2, 1:])
    found = divergence(ours, theirs)
    assert found[::2] == pytest.approx(first[::2])
    assert found[1::2] == pytest.approx((first[1::2] + second) / 2)
    assert np.isfinite(among_golds(theirs, np.random.default_rng(0), draws=3)).all()
    assert permutation_test(ours, theirs, np.random.default_rng(0), draws=50) > 0.02
    apart = ours + 5
    assert permutation_test(apart, theirs, np.random.default_rng(0), draws=50) == 1 / 51


def test_seeds_that_differ_in_the_unknown_only_do_not_differ() -> None:
    same = np.ones((4, 3, 2))
    same[:, 0, 1] = NAN
    assert not differ(same)
    moved = same.copy()
    moved[0, 1] = 2.0
    assert differ(moved)


def test_the_attackers_signals_are_means_over_known_outputs() -> None:
    residual = np.array([[[1.0, 3.0], [NAN, -2.0]]] * 2)
    assert signals(residual)[0] == pytest.approx(np.array([[2.0, np.log(2.0)], [-2.0, np.log(2.0)]]))
