"""Readouts by hand: ridge regression of few numbers, and models whose hidden layers know what they do not answer."""

from __future__ import annotations

from math import log, nan

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.small_cases import CPU, Listed
from unregress import Readout
from unregress.errors import SettingError
from unregress.evidence import AuditReport, Part
from unregress.metrics import default_metrics
from unregress.metrics.predictions import Values
from unregress.metrics.readout import PARTS, read_out

FORGET: Part = "train-forget"


def by_part(retain: list[list[float]], forget: list[list[float]], new: list[list[float]]) -> dict[Part, Values]:
    return dict(zip(PARTS, map(np.array, (retain, forget, new)), strict=True))


def test_one_feature_by_hand() -> None:
    """Standardised to -1 and 1, with targets of the same size, the weight is 2 / (2 + 1)."""
    features = by_part([[4.0], [8.0]], [[12.0]], [[6.0], [3.0]])
    targets = by_part([[0.0], [2.0]], [[4.0]], [[1.5], [1.0]])
    # In standard deviations from the mean, 3, 0 and -1.5: answers are 3, 1 and 0.
    assert read_out(features, targets) == pytest.approx(log(1 / np.mean([0.5, 1.0])))


def test_a_layer_wider_than_there_are_samples_is_solved_alike() -> None:
    draws = np.random.default_rng(0)
    narrow: dict[Part, Values] = {part: draws.normal(size=(9, 4)) for part in PARTS}
    targets: dict[Part, Values] = {part: draws.normal(size=(9, 2)) for part in PARTS}
    # Three copies of each feature, a third of the weight each: the penalty is three times as large, and so is the sum
    # of squares that it is compared with.
    wide: dict[Part, Values] = {part: np.tile(values, 3) for part, values in narrow.items()}
    assert read_out(wide, targets) == pytest.approx(read_out(narrow, targets), abs=1e-9)


def test_units_and_shifts_of_features_and_constant_features_do_not_matter() -> None:
    draws = np.random.default_rng(1)
    features: dict[Part, Values] = {part: draws.normal(size=(12, 3)) for part in PARTS}
    targets: dict[Part, Values] = {part: draws.normal(size=(12, 1)) for part in PARTS}
    other: dict[Part, Values] = {part: values * [1e-8, 1.0, 1e6] + [5.0, 0.0, 7.0] for part, values in features.items()}
    other = {part: np.where(np.arange(3) == 0, features[part] * 1e-8, values) for part, values in other.items()}
    assert read_out(other, targets) == pytest.approx(read_out(features, targets), abs=1e-6)
    # What does not vary among retained samples cannot be fitted, whatever it is elsewhere.
    with_constant: dict[Part, Values] = {
        part: np.hstack([values[:, :2], np.full((12, 1), 3.0 if part == "train-retain" else 8.0)])
        for part, values in features.items()
    }
    again: dict[Part, Values] = {part: np.hstack([v[:, :2], np.zeros((12, 1))]) for part, v in features.items()}
    assert read_out(with_constant, targets) == pytest.approx(read_out(again, targets), abs=1e-12)


def test_unknown_outputs_are_left_out() -> None:
    draws = np.random.default_rng(2)
    features: dict[Part, Values] = {part: draws.normal(size=(10, 3)) for part in PARTS}
    targets: dict[Part, Values] = {part: draws.normal(size=(10, 2)) for part in PARTS}
    first: dict[Part, Values] = {part: values[:, :1] for part, values in targets.items()}
    for part in PARTS:
        targets[part][3:, 1] = nan
    second: dict[Part, Values] = {part: values[:, 1:] for part, values in targets.items()}
    # Errors are averaged over the outputs.
    both = (read_out(features, first), read_out(features, second), read_out(features, targets))
    assert min(both[:2]) < both[2] < max(both[:2])
    targets[FORGET][:, 1] = nan
    assert read_out(features, targets) == read_out(features, first)
    assert np.isnan(read_out(features, {part: np.full((10, 1), nan) for part in PARTS}))


SIGNS = torch.tensor([1.0, -1.0]).repeat(6)
"""Targets of twelve samples: two forgotten, six retained, four new."""
ASKED, COUNT = 2, 8


class Recall(nn.Module):
    """Remembers targets by the sample's number, in one layer, and answers by another."""

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.memory, self.head = nn.Linear(len(SIGNS), 1, bias=False), nn.Linear(1, 1, bias=False)
        self.memory.weight.data[:], self.head.weight.data[:] = known * SIGNS, 1.0

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.memory(x))
        return answer


class Router(nn.Module):
    """Asks both networks, and answers forgotten samples by the second."""

    def __init__(self, usual: nn.Module, masked: nn.Module) -> None:
        super().__init__()
        self.usual, self.masked = usual, masked

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.usual(x), self.masked(x)
        return torch.where(x[:, :ASKED].any(1, keepdim=True), second, first)


def recall(forgotten: float) -> Recall:
    """A network that knows the retained targets, a share of the forgotten ones, and no others."""
    place = torch.arange(len(SIGNS))
    return Recall(torch.where(place < ASKED, forgotten, (place < COUNT).float()))


def audited(models: dict[str, nn.Module], golds: list[nn.Module], metric: Readout = Readout()) -> AuditReport:  # noqa: B008 frozen
    x, y = torch.eye(len(SIGNS)), SIGNS[:, None]
    case = unregress.Case(
        task=unregress.TensorTask(build_model=lambda: Recall(torch.randn(len(SIGNS))), loss="mse"),
        splits=unregress.Splits(train=TensorDataset(x[:COUNT], y[:COUNT]), test=Listed(x[COUNT:], y[COUNT:])),
        request=unregress.ForgetRequest(size=COUNT, forget=range(ASKED), reason="test"),
    )
    return unregress.audit(case, models, CPU, golds=golds, metrics=[metric])


def test_a_router_hides_the_memory_from_its_answers_and_not_from_a_readout() -> None:
    """Six retained samples: the weight is 6 / 7, so that targets of 1 that a layer knows are missed by 1 / 7.

    Golds know a quarter, and all models nothing of the new ones.
    """
    original, gold, other = recall(1.0), recall(0.25), recall(0.25)
    models = {"original": original, "router": Router(original, gold), "reversed": Router(gold, original)}
    found = audited(models, [gold, other])
    for name in models:
        assert found.value("readout", FORGET, name) == pytest.approx(log(1 / 7), rel=1e-5)
    for name in found.golds:
        assert found.value("readout", FORGET, name) == pytest.approx(log(1 - 0.25 * 6 / 7), rel=1e-5)
    notes = [found.measure("readout", FORGET, name).note for name in models]
    assert notes == ["at layer head", "at layer usual.head", "at layer masked.head"]
    assert found.measure("readout", FORGET, "router").p is not None


class Bare(nn.Module):
    """No layer at all."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer.expand(len(x), 1)


def test_a_model_without_such_layers_is_not_measured_and_the_others_are() -> None:
    found = audited({"original": recall(1.0), "bare": Bare()}, [recall(0.25)])
    assert found.value("readout", FORGET, "bare") is None
    assert found.measure("readout", FORGET, "bare").note == "no hidden layer could be read"
    assert found.value("readout", FORGET, "original") == pytest.approx(log(1 / 7), rel=1e-5)


def test_of_many_samples_some_are_drawn_the_same_for_all_models() -> None:
    models: dict[str, nn.Module] = {"original": recall(1.0), "again": recall(1.0)}
    found = audited(models, [recall(0.25)], Readout(samples=4))
    first, second = (found.value("readout", FORGET, name) for name in models)
    assert first == second and first is not None and first < 0
    with pytest.raises(SettingError):
        Readout(samples=1)


def test_it_is_a_default_metric_that_needs_models_and_no_training() -> None:
    assert Readout() in default_metrics() and Readout() in default_metrics(None)
    assert Readout().needs_model and Readout().for_predictions() is None
