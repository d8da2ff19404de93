"""The membership attack: what it can tell, what it learns from, and what it never sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.svm import SVC
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from support.hand_panels import features, panel, seen, values
from unregress.errors import SettingError
from unregress.evidence import Measurement
from unregress.metrics import Membership, membership
from unregress.metrics.base import Panel, rank_among_golds
from unregress.metrics.membership import FAMILIES, Classifier, attack, attack_features

Features = NDArray[np.float64]


def drawn(seed: int, count: int, shift: float = 0.0, width: int = 3) -> Features:
    return np.random.default_rng(seed).normal(size=(count, width)) + shift


def test_separable_features_are_told_apart() -> None:
    members, others = drawn(0, 60), drawn(1, 60, shift=20)
    assert attack(members, others, drawn(2, 30), seed=0) == (1, 1)
    assert attack(members, others, drawn(3, 30, shift=20), seed=0) == (0, 1)


def test_samples_of_the_same_kind_are_guessed() -> None:
    share, accuracy = attack(drawn(0, 1000), drawn(1, 1000), drawn(2, 1000), seed=0)
    assert accuracy == pytest.approx(0.5, abs=0.06)
    assert share == pytest.approx(0.5, abs=0.15)


def test_accuracy_is_held_out() -> None:
    """A support vector machine learns 60 random points in 200 dimensions by heart; it still only guesses."""
    members, others = drawn(0, 60, width=200), drawn(1, 60, width=200)
    accuracies = [attack(members, others, members, seed=seed)[1] for seed in range(20)]
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.1)


def test_features_are_scaled() -> None:
    """A telling feature in small units beside a random one in large units; a change of units changes nothing."""
    members, others, queried = drawn(0, 80), drawn(1, 80), drawn(2, 40)
    others[:, 0] += 10
    units = np.array([1e-4, 1e5, 1.0])
    assert attack(members * units, others * units, queried * units, seed=0) == (1, 1)
    assert attack(members, others, queried, seed=0) == (1, 1)


@pytest.mark.parametrize("largest", [membership.LARGEST_KERNEL, 100], ids=["one matrix", "libsvm's kernel"])
@pytest.mark.parametrize("width", [1, 3, 40])
def test_classifier_is_scikit_learns(width: int, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than are computed at a time; a kernel too large for memory is left to libsvm."""
    monkeypatch.setattr(membership, "LARGEST_KERNEL", largest)
    x, y = np.vstack([drawn(0, 200, width=width), drawn(1, 200, 0.4, width)]), np.repeat([1, 0], 200)
    queried = np.vstack([drawn(2, 700, 0.2, width), x])
    reference = SVC().fit(x, y)
    sure = np.abs(reference.decision_function(queried)) > 1e-6
    assert sure.sum() > 1000
    assert np.array_equal(Classifier(x, y).predict(queried)[sure], reference.predict(queried)[sure] == 1)


def test_classifier_of_equal_rows_is_scikit_learns() -> None:
    x, y = np.zeros((40, 2)), np.repeat([1, 0], 20)
    assert np.array_equal(Classifier(x, y).predict(x), SVC().fit(x, y).predict(x) == 1)


def test_same_seed_same_numbers() -> None:
    members, others, queried = drawn(0, 50), drawn(1, 50, shift=0.5), drawn(2, 77)
    first = attack(members, others, queried, seed=3)
    assert attack(members, others, queried, seed=3) == first
    assert len({attack(members, others, queried, seed=seed) for seed in range(5)}) > 1


def test_each_family_can_be_chosen() -> None:
    found = features(np.random.default_rng(0), 4)
    assert found.activation is not None and found.gradient is not None
    assert attack_features(found, ("loss",)).tolist() == found.loss[:, None].tolist()
    assert attack_features(found, ("activation",)).tolist() == found.activation.tolist()
    assert attack_features(found, ("gradient",)).tolist() == found.gradient.tolist()
    assert attack_features(found, FAMILIES).shape == (4, 6)


def test_families_that_were_not_collected_are_missed() -> None:
    with pytest.raises(SettingError, match="features=True"):
        attack_features(seen([1.0, 2.0]), ("gradient",))
    assert [Membership(features=f).needs_features for f in (("loss",), ("gradient",), FAMILIES)] == [False, True, True]


@pytest.mark.parametrize(
    "options",
    [{"features": ("losses",)}, {"features": ()}, {"features": "loss"}, {"samples": 9}],
    ids=["misspelt", "none", "a word", "too few"],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="loss, gradient, activation"):
        Membership(**options)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_tells_members_by_itself(family: membership.Family) -> None:
    """Members differ in one family alone: only an attack that is given it can tell."""
    rng = np.random.default_rng(0)

    def part(shift: float, count: int = 100) -> Any:
        plain = features(rng, count)
        return features(rng, count, **{family: getattr(plain, family) + shift})

    parts = {"train-retain": part(0), "train-forget": part(0), "test-retain": part(20, 60), "test-forget": part(20, 40)}
    asked = panel({"original": parts})
    found = values(Membership(features=(family,)), asked)
    assert found == {("attack", "train-forget", "original"): 1, ("attack-accuracy", "train-forget", "original"): 1}
    (blind,) = [other for other in FAMILIES if other != family][:1]
    guessed = values(Membership(features=(blind,)), asked)[("attack-accuracy", "train-forget", "original")]
    assert guessed is not None and guessed < 0.8


@pytest.mark.parametrize(("retained", "tested"), [(9, 50), (50, 9), (50, 0)])
def test_too_few_samples_are_said_to_be(retained: int, tested: int) -> None:
    parts = {"train-retain": seen(np.ones(retained)), "train-forget": seen(np.ones(5))}
    if tested:
        parts["test-retain"] = seen(np.ones(tested))
    found = [
        m for m in Membership(features=("loss",)).measure(panel({"original": parts})) if isinstance(m, Measurement)
    ]
    assert [(m.metric, m.value) for m in found] == [("attack", None), ("attack-accuracy", None)]
    assert {m.note for m in found} == {f"only {min(retained, tested)} samples per class to train an attacker on"}


def crowd(golds: int) -> Panel:
    """An original and golds with all three families, a model that differs in its losses, and a constant without any."""
    rng = np.random.default_rng(0)
    sizes = {"train-retain": 60, "train-forget": 40, "test-retain": 60}
    models = {
        name: {part: features(rng, count) for part, count in sizes.items()}
        for name in ("original", "model", *(f"retrained #{n}" for n in range(golds)))
    }
    models["constant"] = {part: seen(np.ones(count)) for part, count in sizes.items()}
    plain = panel(models)
    changed = [
        replace(subject, model=None, role="reference")
        if subject.name == "constant"
        else replace(subject, role="gold" if subject.name.startswith("retrained") else subject.role)
        for subject in plain.subjects
    ]
    return replace(plain, subjects=tuple(changed))


def by_model(attacker: Membership, asked: Panel, metric: str) -> dict[str, Measurement]:
    return {m.model: m for m in attacker.measure(asked) if isinstance(m, Measurement) and m.metric == metric}


@pytest.mark.parametrize("metric", ["attack", "attack-accuracy"])
def test_a_model_without_a_final_layer_is_attacked_by_its_loss_alone(metric: str) -> None:
    found = by_model(Membership(), crowd(2), metric)
    assert {name for name, measure in found.items() if measure.value is None} == {"constant"}
    assert found["constant"].note == "the attack reads the final layer, and this model has none"
    assert not any("final layer" in measure.note for name, measure in found.items() if name != "constant")
    found = by_model(Membership(features=("loss",)), crowd(2), metric)
    assert not any("final layer" in measure.note for measure in found.values())
    assert len(found) == 5 and all(measure.value is not None for measure in found.values())


def test_the_attack_says_on_how_many_samples_it_was_trained() -> None:
    parts = {"train-retain": seen(np.ones(50)), "train-forget": seen(np.ones(5)), "test-retain": seen(np.ones(40))}
    for most, count in ((2000, 40), (20, 20)):
        found = by_model(Membership(features=("loss",), samples=most), panel({"original": parts}), "attack")
        told = f"attacker made of {count} retained and {count} test samples, three tenths of them held out"
        assert found["original"].note == told


@pytest.mark.parametrize("golds", [0, 1, 2, 4])
def test_shares_are_ranked_among_the_golds(golds: int) -> None:
    attacker, asked = Membership(), crowd(golds)
    found = by_model(attacker, asked, "attack")
    ranked = rank_among_golds(asked, {name: m.value for name, m in found.items() if m.value is not None})
    assert {name: m.p for name, m in found.items() if name in ranked} == ranked
    assert {name for name, m in found.items() if m.p is not None} == ({"original", "model"} if golds > 1 else set())
    assert all(m.p is None for m in by_model(attacker, asked, "attack-accuracy").values())


@pytest.fixture
def rows_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Features, Features, Features]]]:
    """What `attack` is given, in order of the models."""
    calls: list[tuple[Features, Features, Features]] = []

    def watched(members: Features, others: Features, queried: Features, *, seed: int) -> tuple[float, float]:
        calls.append((members, others, queried))
        return attack(members, others, queried, seed=seed)

    monkeypatch.setattr(membership, "attack", watched)
    yield calls


@pytest.mark.parametrize("samples", [2000, 12])
def test_members_are_retained_samples_and_only_forgotten_ones_are_queried(
    rows_seen: list[tuple[Features, Features, Features]], samples: int
) -> None:
    """The loss names the row: training rows 0-59, of which every third is to be forgotten, test rows 1000-1029."""
    task = unregress.TensorTask(
        build_model=lambda: nn.Linear(1, 1), loss=lambda prediction, target: target + 0 * prediction
    )
    train, test = torch.arange(60.0), torch.arange(1000.0, 1030.0)
    forget = tuple(range(0, 60, 3))
    case = unregress.Case(
        task=task,
        splits=unregress.Splits(
            train=TensorDataset(train[:, None], train),
            test=TensorDataset(test[:, None], test),
        ),
        request=unregress.ForgetRequest(size=60, forget=forget, reason="test"),
        test_forget_like=range(5),
    )
    attacker = Membership(features=("loss",), samples=samples)
    models = {"original": nn.Linear(1, 1)}
    unregress.audit(case, models, unregress.Runtime(accelerator="cpu"), golds=[nn.Linear(1, 1)], metrics=[attacker])
    assert len(rows_seen) == 3  # the constant is the third
    for members, others, queried in rows_seen:
        assert set(queried.ravel()) <= set(forget)
        assert len(set(queried.ravel())) == len(queried) == min(len(forget), samples)
        assert set(members.ravel()) <= set(range(60)) - set(forget)
        assert set(others.ravel()) <= set(test.tolist())
        # As many of each class, none twice: chance is one half.
        assert len(set(members.ravel())) == len(set(others.ravel())) == len(members) == min(30, samples)
    for other in rows_seen[1:]:
        same = [np.array_equal(*pair) for pair in zip(rows_seen[0], other, strict=True)]
        assert all(same), "models are attacked on other samples"
