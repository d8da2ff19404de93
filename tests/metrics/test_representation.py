"""Linear CKA by hand and by its invariances, the probe by what it can and cannot tell, and both in a panel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ortho_group

from support.hand_panels import features, seen
from support.hand_panels import panel as panel_of
from unregress.errors import SettingError
from unregress.evidence import Measurement, Role
from unregress.metrics.base import Panel
from unregress.metrics.predictions import Predictions
from unregress.metrics.representation import Representation, fold_numbers, linear_cka, probe_auc

Features = NDArray[np.float64]


def drawn(seed: int, count: int, width: int) -> Features:
    return np.random.default_rng(seed).normal(size=(count, width))


@pytest.mark.parametrize(
    ("first", "second", "alignment"),
    [
        # Opposite, so the same to a linear layer.
        ([[0], [1], [2], [5]], [[9], [7], [5], [-1]], 1),
        # The corners of a square, turned by an eighth of a circle and stretched.
        ([[0, 0], [1, 0], [0, 1], [1, 1]], [[0, 0], [3, 3], [-3, 3], [0, 6]], 1),
        # Two clusters each, across.  Off the diagonal, kernels are 1 for 2 pairs and -1 for the other 4, U-centred 4/3
        # and -2/3: of length² 2 · 16/9 + 4 · 4/9 = 48/9, and their product is 4 · -8/9 + 2 · 4/9 = -24/9.
        ([[1], [1], [-1], [-1]], [[1], [-1], [1], [-1]], -1 / 2),
        # Constant features: alike among themselves, unlike all others.
        ([[3], [3], [3], [3]], [[7, 1], [7, 1], [7, 1], [7, 1]], 1),
        ([[3], [3], [3], [3]], [[0], [1], [2], [5]], 0),
        ([[0.1], [0.1], [0.1], [0.1]], [[0], [1], [2], [5]], 0),
        # As different from each other as all others are: nothing to align.
        (np.eye(4), 2 * np.eye(4), 1),
        (np.eye(4), [[0], [1], [2], [5]], 0),
    ],
)
def test_cka_by_hand(first: Any, second: Any, alignment: float) -> None:
    a, b = np.array(first, dtype=float), np.array(second, dtype=float)
    assert linear_cka(a, b) == pytest.approx(alignment, abs=1e-12)
    assert linear_cka(b, a) == pytest.approx(alignment, abs=1e-12)


def u_centred(features: Features) -> Features:
    """The kernel off the diagonal, its rows' and columns' means taken out without bias (Székely and Rizzo 2014)."""
    count, kernel = len(features), features @ features.T
    np.fill_diagonal(kernel, 0)
    rows = kernel.sum(axis=0) / (count - 2)
    centred = kernel - rows - rows[:, None] + kernel.sum() / ((count - 1) * (count - 2))
    np.fill_diagonal(centred, 0)
    return centred


def by_definition(first: Features, second: Features) -> float:
    """The cosine of the angle between two U-centred kernels, from the n × n matrices."""
    a, b = u_centred(first.astype(float)), u_centred(second.astype(float))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def biased(first: Features, second: Features) -> float:
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


@given(st.integers(0, 1000), st.integers(5, 12), st.integers(1, 20), st.integers(1, 20))
def test_cka_equals_its_definition_for_more_and_fewer_features_than_samples(
    seed: int, count: int, width: int, other: int
) -> None:
    first, second = drawn(seed, count, width) + 5, drawn(seed + 1, count, other)
    assert linear_cka(first, second) == pytest.approx(by_definition(first, second), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("width", [5, 64, 200])
def test_independent_features_have_no_alignment_and_equal_ones_have_one(width: int) -> None:
    """Of 88 samples; the plain estimator reads 0.05, 0.42 and 0.69."""
    found = [linear_cka(drawn(seed, 88, width), drawn(seed + 100, 88, width)) for seed in range(40)]
    assert np.mean(found) == pytest.approx(0, abs=0.01)
    assert max(map(abs, found)) < 0.06
    features = drawn(0, 88, width)
    assert linear_cka(features, features) == pytest.approx(1, abs=1e-9)
    assert linear_cka(features, features @ ortho_group.rvs(width, random_state=0)) == pytest.approx(1, abs=1e-9)
    assert biased(features, drawn(100, 88, width)) == pytest.approx({5: 0.05, 64: 0.42, 200: 0.69}[width], abs=0.02)


def test_cka_is_the_plain_estimate_where_samples_are_many() -> None:
    first = drawn(0, 4000, 6)
    second = first @ np.diag([3, 1, 1, 0, 0, 0]) + drawn(1, 4000, 6)
    assert 0.3 < linear_cka(first, second) == pytest.approx(biased(first, second), abs=0.002)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-100, 100))
def test_cka_knows_no_rotation_common_scale_shift_or_order_of_rows(seed: int, scale: float, shift: float) -> None:
    first, second = drawn(seed, 30, 4), drawn(seed + 1, 30, 6)
    expected = linear_cka(first, second)
    turned = first @ ortho_group.rvs(4, random_state=seed) * scale + shift
    assert linear_cka(turned, second) == pytest.approx(expected, rel=1e-6)
    assert linear_cka(first, turned) == pytest.approx(1, abs=1e-9)
    order = np.random.default_rng(seed).permutation(30)
    assert linear_cka(first[order], second[order]) == pytest.approx(expected, rel=1e-9)


def test_cka_knows_other_linear_maps() -> None:
    """Stretching one feature, and shuffling the rows of one side, are changes."""
    first = drawn(0, 50, 4)
    assert linear_cka(first, first * np.array([10, 1, 1, 1])) < 0.8
    assert linear_cka(first, first[::-1]) < 0.3


def labelled(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    labels = np.repeat([1, 0], count)
    return labels, fold_numbers(labels, seed=0)


def test_folds_hold_both_classes_evenly() -> None:
    labels = np.repeat([1, 0], [50, 20])
    folds = fold_numbers(labels, seed=3)
    assert [(int(labels[folds == fold].sum()), int((folds == fold).sum())) for fold in range(5)] == [(10, 14)] * 5
    assert np.array_equal(folds, fold_numbers(labels, seed=3))
    assert not np.array_equal(folds, fold_numbers(labels, seed=4))


def test_a_probe_guesses_where_features_are_exchangeable() -> None:
    """Also where a probe without a penalty would learn them by heart: 100 features, 120 samples."""
    labels, folds = labelled(60)
    areas = [probe_auc(drawn(seed, 120, 100), labels, folds) for seed in range(20)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.04)


def test_a_probe_tells_separable_features_apart_in_whatever_units() -> None:
    labels, folds = labelled(40)
    telling = drawn(0, 80, 5)
    telling[labels == 1, 2] += 20
    assert probe_auc(telling, labels, folds) == 1
    units = np.array([1e-4, 1e5, 1e-3, 1.0, 7.0])
    assert probe_auc(telling * units + 3, labels, folds) == 1


def test_a_probe_finds_a_weak_direction_in_many_features() -> None:
    """Classes 1 standard deviation apart in one of 200 features: at best Φ(1 / √2) = 0.76.

    The means of 800 samples each add 200 · 2 / 800 = 0.5 to the squared distance of 1, all of it noise: of Fisher's
    rule Φ(1 / √(2 · 1.5)) = 0.72 is to be expected.
    """
    labels, folds = labelled(1000)
    weak = drawn(0, 2000, 200)
    weak[labels == 1, 7] += 1
    assert probe_auc(weak, labels, folds) == pytest.approx(0.72, abs=0.03)


def test_a_probe_does_not_depend_on_the_order_of_rows() -> None:
    labels, folds = labelled(50)
    found = drawn(0, 100, 8) + 0.4 * labels[:, None]
    order = np.random.default_rng(1).permutation(100)
    expected = probe_auc(found, labels, folds)
    assert 0.5 < expected < 1
    assert probe_auc(found[order], labels[order], folds[order]) == pytest.approx(expected, abs=1e-3)


def part(seed: int, count: int, shift: float = 0.0) -> Predictions:
    return features(np.random.default_rng(seed), count, activation=drawn(seed, count, 3) + shift)


def panel(parts: dict[str, dict[str, Predictions]], seed: int = 0) -> Panel:
    def role(name: str) -> Role:
        return "gold" if name.startswith("gold") else "original" if name == "original" else "unlearned"

    asked = panel_of(parts, seed=seed)
    return replace(asked, subjects=tuple(replace(subject, role=role(subject.name)) for subject in asked.subjects))


def found(asked: Panel, metric: Representation | None = None) -> dict[tuple[str, str], Measurement]:
    made = (metric or Representation()).measure(asked)
    return {(m.metric, m.model): m for m in made if isinstance(m, Measurement)}


def four() -> dict[str, dict[str, Predictions]]:
    """Three golds that mix the two kinds up, and an original that keeps them apart."""
    golds = {
        f"gold {k}": {"train-forget": part(k, 60), "test-retain": part(20 + k, 50), "test-forget": part(10 + k, 40)}
        for k in range(3)
    }
    apart = {"train-forget": part(5, 60, 9), "test-retain": part(25, 50), "test-forget": part(15, 40)}
    return {"original": apart, **golds}


def test_the_original_stands_out() -> None:
    measures = found(panel(four()))
    original = measures["probe-auc", "original"]
    assert (original.value, original.p, original.note) == (1, 0.25, "")
    for k in range(3):
        own = measures["probe-auc", f"gold {k}"]
        assert own.value == pytest.approx(0.5, abs=0.2) and own.p is None
    assert {m.split for m in measures.values()} == {"train-forget"}


def test_cka_distance_is_the_mean_to_the_golds_and_for_a_gold_to_the_others() -> None:
    parts = four()
    measures = found(panel(parts))
    own = {name: own["train-forget"].activation for name, own in parts.items()}

    def mean(name: str, others: list[str]) -> float:
        return float(np.mean([1 - by_definition(own[name], own[other]) for other in others]))  # type: ignore[arg-type]

    golds = ["gold 0", "gold 1", "gold 2"]
    assert measures["cka-distance", "original"].value == pytest.approx(mean("original", golds))
    assert measures["cka-distance", "gold 0"].value == pytest.approx(mean("gold 0", golds[1:]))
    assert measures["cka-distance", "original"].p is not None
    same = found(panel({"original": parts["original"], "gold": parts["gold 0"], "copy": parts["gold 0"]}))
    assert same["cka-distance", "copy"].value == pytest.approx(0, abs=1e-12)
    assert ("cka-distance", "gold") not in same


def test_without_look_alikes_all_test_samples_stand_in() -> None:
    parts = {name: {k: v for k, v in own.items() if k != "test-forget"} for name, own in four().items()}
    assert "all test samples" in found(panel(parts))["probe-auc", "original"].note


def test_subjects_without_features_are_left_out_and_golds_may_be_missing() -> None:
    parts = four()
    plain = {name: seen(np.zeros(len(own))) for name, own in parts["original"].items()}
    with_constant = {**parts, "constant": plain}
    assert found(panel(with_constant)) == found(panel(parts))
    assert found(panel({"original": plain})) == {}
    alone = found(panel({"original": parts["original"]}))
    assert [(key, m.p) for key, m in alone.items()] == [(("probe-auc", "original"), None)]


def test_too_few_samples_are_not_probed() -> None:
    parts = {name: {**own, "test-forget": own["test-forget"].at(np.arange(9))} for name, own in four().items()}
    measures = found(panel(parts))
    assert measures["probe-auc", "original"].value is None
    assert measures["probe-auc", "original"].note == "only 9 samples per class to train a probe on"
    assert measures["cka-distance", "original"].value is not None


def test_too_few_samples_are_not_aligned() -> None:
    parts = {name: {**own, "train-forget": own["train-forget"].at(np.arange(3))} for name, own in four().items()}
    measures = found(panel(parts))
    assert measures["cka-distance", "original"].value is None
    assert measures["cka-distance", "original"].note == "only 3 samples to compare features of"
    parts = {name: {**own, "train-forget": own["train-forget"].at(np.arange(4))} for name, own in four().items()}
    assert found(panel(parts))["cka-distance", "original"].value is not None


def test_seeded_and_the_same_for_a_model_whoever_else_is_there() -> None:
    parts, few = four(), Representation(samples=20)
    first = found(panel(parts), few)
    assert found(panel(parts), few) == first
    assert found(panel(parts, seed=1), few) != first
    backwards = found(panel(dict(reversed(parts.items()))), few)
    assert {key: m.value for key, m in backwards.items()} == pytest.approx({key: m.value for key, m in first.items()})
    some = found(panel({name: parts[name] for name in ("original", "gold 1")}), few)
    assert some["probe-auc", "original"].value == first["probe-auc", "original"].value


def test_options() -> None:
    assert Representation().needs_features
    with pytest.raises(SettingError, match="Representation"):
        Representation(samples=9)
