"""Membership inference against look-alikes: whom it compares, what calibration takes out, and when it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike

from support.hand_panels import panel, seen
from unregress.errors import DataError, SettingError
from unregress.evidence import Measurement, Role
from unregress.metrics.attack_auc import AttackAUC, calibrated_scores, likelihood_scale
from unregress.metrics.base import Panel
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.roc import auc

Losses = Mapping[str, ArrayLike]


def role(name: str) -> Role:
    known: dict[str, Role] = {"original": "original", "retrained": "gold", "constant": "reference"}
    return known.get(name.split()[0], "unlearned")


def by_loss(losses: Losses) -> dict[str, Predictions]:
    return {part: seen(np.zeros(len(np.asarray(own))), loss=own) for part, own in losses.items()}


def asked(models: Mapping[str, Mapping[str, Predictions]], seed: int = 0) -> Panel:
    """Models called `retrained…` are golds, `constant` has no network."""
    plain = panel(models, seed)
    subjects = [replace(subject, role=role(subject.name)) for subject in plain.subjects]
    bare = [replace(subject, model=None) if subject.role == "reference" else subject for subject in subjects]
    return replace(plain, subjects=tuple(bare))


def found(models: Mapping[str, Losses], metric: AttackAUC | None = None) -> dict[tuple[str, str], Measurement]:
    """All measures by (metric, model), from losses alone."""
    return measured(asked({name: by_loss(losses) for name, losses in models.items()}), metric)


def measured(panel: Panel, metric: AttackAUC | None = None) -> dict[tuple[str, str], Measurement]:
    measures = list((metric or AttackAUC()).measure(panel))
    assert all(isinstance(measure, Measurement) and measure.split == "train-forget" for measure in measures)
    return {(measure.metric, measure.model): measure for measure in measures if isinstance(measure, Measurement)}


def crowd(seed: int, *, memory: float = 0.0, forget: int = 300, alike: int = 200, golds: int = 3) -> dict[str, Losses]:
    """Forgotten samples that are harder than look-alikes by 5 for everyone; `model` knows them by `memory` better."""
    rng = np.random.default_rng(seed)
    hard, easy = rng.uniform(10, 20, forget), rng.uniform(5, 15, alike)

    def losses(known: float) -> Losses:
        own = {"train-forget": hard - known, "test-forget": easy}
        return {part: np.abs(values + rng.normal(0, 0.5, len(values))) for part, values in own.items()}

    retrained = {f"retrained #{n}": losses(0) for n in range(golds)}
    return {"original": losses(8), "model": losses(memory), **retrained}


def test_by_hand() -> None:
    """Losses 0, 1, 3 against 2, 1: the smallest beats both, 1 beats 2 and ties with 1, 3 beats none."""
    result = found({"original": {"train-forget": [0.0, 1.0, 3.0], "test-forget": [2.0, 1.0]}})
    assert {key: (m.value, m.p) for key, m in result.items()} == {("auc", "original"): (pytest.approx(3.5 / 6), None)}


def test_look_alikes_are_the_forgotten_kind_where_it_is_known_and_else_all_test_data() -> None:
    band = {"train-forget": [1.0], "test-forget": [2.0, 2.0], "test-retain": [0.0, 0.0, 0.0]}
    measure = found({"original": band})[("auc", "original")]
    assert (measure.value, measure.note) == (1.0, "1 against 2 held-out samples of the forgotten kind")
    measure = found({"original": {"train-forget": [1.0], "test-retain": [0.0, 2.0, 3.0]}})[("auc", "original")]
    assert (measure.value, measure.note) == (pytest.approx(2 / 3), "1 against 3 samples of all test data")
    assert found({"original": {"train-forget": [1.0]}}) == {}


def test_a_sample_that_model_and_references_lose_alike_scores_zero() -> None:
    losses = np.array([0.0, 2.0, 7.5])
    assert calibrated_scores(losses, np.stack([losses] * 5), 3.0) == pytest.approx(np.zeros(3), abs=1e-15)


def test_calibration_by_hand() -> None:
    """Likelihoods 1/2 for the model, 1/4 and 1/8 for the references: 1/2 over 3/16 is 8/3."""
    two = 1 / np.log(2)  # a loss of k at this scale is a likelihood of 2^-k
    score = calibrated_scores(np.array([1.0]), np.array([[2.0], [3.0]]), two)
    assert score == pytest.approx(np.log(8 / 3))
    assert calibrated_scores(np.array([1.0]), np.array([[4.0]]), 6.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("degree", "outputs", "scale"),
    [(1, 1, 3.0), (2, 1, 18.0), (1, 4, 0.75), (2, 4, 4.5)],
    ids=["Laplace", "Gauss", "Laplace, mean of 4", "Gauss, mean of 4"],
)
def test_scale_is_that_of_the_likelihood(degree: int, outputs: int, scale: float) -> None:
    """Laplace with b = 3, Gauss with sd 3: exp(-|e| / 3) and exp(-e² / 18); the mean loss of 4 counts fourfold."""
    rng = np.random.default_rng(0)
    errors = rng.laplace(0, 3, (200_000, outputs)) if degree == 1 else rng.normal(0, 3, (200_000, outputs))
    assert likelihood_scale((np.abs(errors) ** degree).mean(axis=1)) == pytest.approx(scale, rel=0.03)


def test_scale_of_a_log_likelihood_is_one_and_equal_losses_do_no_harm() -> None:
    assert likelihood_scale(np.array([-3.0, 10.0, 40.0])) == 1
    assert likelihood_scale(np.full(5, 2.0)) == likelihood_scale(np.zeros(5)) == 1


@given(
    arrays(np.float64, 12, elements=st.floats(0, 50)),
    arrays(np.float64, (3, 12), elements=st.floats(0, 50)),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_comparison_with_a_population_ranks_alike(losses: Values, references: Values, gamma: float) -> None:
    """RMIA's own score: the share of population samples whose ratio is at most 1/γ of the sample's."""
    scores = calibrated_scores(losses, references, 10.0)
    population = np.random.default_rng(0).normal(0, 2, 500)
    share = (np.exp(scores)[:, None] / np.exp(population) >= gamma).mean(axis=1)
    assert (np.diff(share[np.argsort(scores)]) >= 0).all()


def test_calibration_sees_memory_that_a_label_shift_hides() -> None:
    """Forgotten samples are harder by 5 and the model knows them by 5 better: to the plain attack all is even."""
    result = found(crowd(0, memory=5.0))
    assert result[("auc", "model")].value == pytest.approx(0.5, abs=0.05)
    assert result[("auc-calibrated", "model")].value > 0.99  # type: ignore[operator]
    assert result[("auc-calibrated", "model")].p == 0.25


def test_calibration_clears_a_model_that_a_label_shift_makes_suspicious() -> None:
    result = found(crowd(1))
    for model in ("model", "retrained #0", "retrained #1", "retrained #2"):
        assert result[("auc", model)].value < 0.2  # type: ignore[operator]
        assert result[("auc-calibrated", model)].value == pytest.approx(0.5, abs=0.1)
        low, high = result[("auc-calibrated", model)].interval or (1, 0)
        assert low < 0.5 < high
    assert result[("auc-calibrated", "original")].value == 1


def test_a_gold_is_calibrated_by_the_others() -> None:
    models = crowd(2)
    scale = likelihood_scale(np.concatenate([models[f"retrained #{n}"]["test-forget"] for n in range(3)]))
    scores = [
        calibrated_scores(*(np.asarray(models["retrained #1"][part]), references), scale)
        for part in ("train-forget", "test-forget")
        for references in [np.stack([np.asarray(models[f"retrained #{n}"][part]) for n in (0, 2)])]
    ]
    assert found(models)[("auc-calibrated", "retrained #1")].value == auc(scores[0], scores[1])


def test_without_golds_nothing_is_calibrated_and_one_gold_calibrates_the_others() -> None:
    none = found(crowd(3, golds=0))
    assert set(none) == {("auc", "original"), ("auc", "model")}
    assert all(measure.p is None and measure.interval is not None for measure in none.values())
    one = found(crowd(3, golds=1))
    assert {model for metric, model in one if metric == "auc"} == {"original", "model", "retrained #0"}
    assert {model for metric, model in one if metric == "auc-calibrated"} == {"original", "model"}
    assert all(measure.p is None for measure in one.values())


def test_golds_are_not_ranked_and_the_others_are() -> None:
    result = found(crowd(4))
    assert {measure.p for (_, model), measure in result.items() if model.startswith("retrained")} == {None}
    assert result[("auc", "original")].p == result[("auc-calibrated", "original")].p == 0.25


def test_constants_have_losses_and_so_an_attack() -> None:
    models = crowd(5)
    result = found({**models, "constant": {"train-forget": np.full(300, 9.0), "test-forget": np.full(200, 9.0)}})
    assert result[("auc", "constant")].value == 0.5
    # 9 for all: what the golds find harder, it is relatively good at.  U(10, 20) exceeds U(5, 15) in 7 of 8 cases.
    assert result[("auc-calibrated", "constant")].value == pytest.approx(0.875, abs=0.03)


@pytest.mark.parametrize(("alike", "share"), [(1000, 0.01), (999, 0.01), (200, 0.05), (199, 0.05)])
def test_true_positives_are_counted_where_ten_false_alarms_are_allowed(alike: int, share: float) -> None:
    result = found(crowd(6, alike=alike), AttackAUC(false_alarms=share))
    rates = {model: m.value for (metric, model), m in result.items() if metric == "tpr-calibrated"}
    assert set(rates) == (set(crowd(6)) if alike * share >= 10 else set())
    assert {model for metric, model in result if metric == "tpr-at-low-fpr"} == set(rates)
    if rates:
        assert rates["original"] == 1
        assert rates["model"] == pytest.approx(share, abs=0.05)


def test_true_positives_by_hand() -> None:
    """Look-alikes lose 1 to 1000: ten of them may be below the threshold, which is at 11 then."""
    losses = {"train-forget": [0.0, 10.5, 11.0, 500.0], "test-retain": np.arange(1.0, 1001.0)}
    result = found({"original": losses})
    assert result[("tpr-at-low-fpr", "original")].value == 0.5
    assert result[("tpr-at-low-fpr", "original")].interval is None


@pytest.mark.parametrize(("forget", "alike"), [(9, 50), (50, 9), (10, 10)])
def test_few_samples_have_an_auc_but_no_interval(forget: int, alike: int) -> None:
    result = found(crowd(7, forget=forget, alike=alike))
    assert all(m.value is not None and (m.interval is None) == (min(forget, alike) < 10) for m in result.values())


def test_order_of_samples_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    order = {"train-forget": rng.permutation(300), "test-forget": rng.permutation(200)}
    models = crowd(8, memory=1.0)
    turned = {name: {part: np.asarray(own[part])[order[part]] for part in own} for name, own in models.items()}
    first, second = found(models), found(turned)
    assert first.keys() == second.keys()
    for key, measure in first.items():
        assert second[key].value == pytest.approx(measure.value, abs=1e-12)


@pytest.mark.parametrize("power", [1, 2], ids=["l1", "mse"])
def test_change_of_units_changes_nothing(power: int) -> None:
    rng = np.random.default_rng(0)
    target = {"train-forget": rng.normal(60, 5, 80), "test-forget": rng.normal(60, 5, 60)}
    names = ("original", "model", "retrained #0", "retrained #1")
    spread = dict(zip(names, (1.0, 3.0, 4.0, 4.0), strict=True))
    predicted = {name: {p: y + rng.normal(0, spread[name], len(y)) for p, y in target.items()} for name in names}

    def result(units: float) -> dict[tuple[str, str], Measurement]:
        def part(prediction: Values, true: Values) -> Predictions:
            return seen(units * prediction, units * true, loss=np.abs(units * prediction - units * true) ** power)

        models = {name: {p: part(own[p], target[p]) for p in target} for name, own in predicted.items()}
        return measured(asked(models))

    small, large = result(1), result(1000)
    assert small.keys() == large.keys()
    for key, measure in small.items():
        assert large[key].value == pytest.approx(measure.value, abs=1e-9), key
        assert large[key].interval == pytest.approx(measure.interval, abs=1e-9), key
        assert large[key].p == measure.p


def test_no_seed_changes_a_number() -> None:
    models = {name: by_loss(losses) for name, losses in crowd(9).items()}
    assert measured(asked(models, seed=1)) == measured(asked(models))


def test_golds_that_were_asked_about_other_samples_are_refused() -> None:
    models = {name: by_loss(losses) for name, losses in crowd(10, golds=1).items()}
    short = models["retrained #0"]["train-forget"]
    models["retrained #0"]["train-forget"] = replace(short, index=short.index + 1)
    with pytest.raises(DataError, match="different samples"):
        measured(asked(models))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_senseless_options_are_refused(rate: float) -> None:
    with pytest.raises(SettingError, match="false_alarms"):
        AttackAUC(false_alarms=rate)


def test_every_measure_is_explained_once() -> None:
    result = found(crowd(11, alike=1000))
    assert [about.metric for about in AttackAUC.about] == list(dict.fromkeys(metric for metric, _ in result))
