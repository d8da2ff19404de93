"""Two outputs, one of them known of some samples only: preflight, every method, golds and an audit of all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import unregress
from support.bump_case import Rows
from unregress.checks.preflight import preflight
from unregress.data.loading import Batch
from unregress.errors import DataError, ModelError
from unregress.evidence import CONSTANT, AuditReport
from unregress.evidence.criterion_specs import CRITERIA
from unregress.metrics import default_metrics
from unregress.retraining.model_factory import ModelFactory
from unregress.training.divergence import TargetScale
from unregress.training.objective import relabelled_loss

CPU = unregress.Runtime(accelerator="cpu")
RECIPE = unregress.Recipe(epochs=8, lr=0.02, batch_size=16)
TRAIN, NAN = 90, float("nan")
FORGET = tuple(range(0, 60, 4))


def data() -> tuple[Tensor, Tensor]:
    drawn = torch.randn(150, 6, generator=torch.Generator().manual_seed(0))
    x, y = drawn[:, :4], (drawn[:, :2] + 0.3 * drawn[:, 4:]) * torch.tensor([1.0, 5.0])
    y[::7, 1], y[3::7, 0] = NAN, NAN
    return x, y


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def case(
    loss: Any = "l1", *, kind: Callable[..., Dataset[Any]] = TensorDataset, **changed: tuple[Tensor, Tensor]
) -> unregress.Case:
    x, y = changed.get("data", data())
    return unregress.Case(
        task=unregress.TensorTask(build_model=net, loss=loss),
        splits=unregress.Splits(
            train=kind(x[:TRAIN], y[:TRAIN]),
            test=kind(x[TRAIN:], y[TRAIN:]),
        ),
        request=unregress.ForgetRequest(size=TRAIN, forget=FORGET, reason="test"),
    )


def own(prediction: Tensor, target: Tensor) -> Tensor:
    known = target.isfinite()
    return ((prediction - target.nan_to_num()).abs() * known).sum(1) / known.sum(1)


def unmasked(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs().mean(1)


def masked_too_late(prediction: Tensor, target: Tensor) -> Tensor:
    error = (prediction - target).square()
    return torch.where(error.isnan(), 0.0, error).mean(1)


@pytest.mark.parametrize("kind", [TensorDataset, Rows])
@pytest.mark.parametrize("loss", ["l1", "mse", "huber", own])
def test_sound_data_and_losses_pass_the_preflight(loss: Any, kind: Callable[..., Dataset[Any]]) -> None:
    assert preflight(case(loss, kind=kind), CPU).warnings == ()
    fresh = preflight(case(loss, kind=kind), CPU, net()).warnings
    assert all("no better than a constant" in warning for warning in fresh)


@pytest.mark.parametrize("loss", [unmasked, masked_too_late])
def test_a_loss_that_does_not_mask_is_refused_before_anything_is_trained(loss: Any) -> None:
    with pytest.raises(ModelError) as refused:
        preflight(case(loss), CPU, net())
    assert "gradient" in refused.value.found or loss is unmasked
    assert "training sample 0" in refused.value.found and "named loss" in refused.value.remedy


@pytest.mark.parametrize(("value", "output"), [(NAN, slice(None)), (float("inf"), 0)], ids=["wholly", "infinite"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_samples_that_teach_nothing_are_refused(split: str, value: float, output: Any) -> None:
    x, y = data()
    y[5 if split == "train" else TRAIN + 5, output] = value
    with pytest.raises(DataError, match=rf"1 {split} samples have a NaN or infinite target, the first at position 5"):
        preflight(case(data=(x, y)), CPU, net())


def test_unknown_inputs_are_refused_all_the_same() -> None:
    x, y = data()
    x[0, 1] = x[1, 1] = NAN  # the target of sample 0 is partly unknown, too
    with pytest.raises(DataError, match="2 train samples have a NaN or infinite input, the first at position 0"):
        preflight(case(data=(x, y)), CPU)


METHODS: dict[str, unregress.Method] = {
    "finetune": unregress.FineTune(recipe=RECIPE),
    "uniform": unregress.UniformAmnesiac(recipe=RECIPE, low=0, high=3),
    "gaussian": unregress.GaussianAmnesiac(recipe=RECIPE),
    "blindspot": unregress.Blindspot(recipe=RECIPE, helper=RECIPE),
    "retrain": unregress.Retrain(recipe=RECIPE),
}


@pytest.fixture(scope="module")
def report() -> AuditReport:
    original = unregress.train(case(), RECIPE, CPU)
    made = {name: method.unlearn(original.model, case(), CPU) for name, method in METHODS.items()}
    golds = [METHODS["retrain"].unlearn(original.model, case(), replace(CPU, seed=seed)) for seed in (1, 2, 3)]
    metrics = (
        *default_metrics(unregress.Anamnesis(recipe=replace(RECIPE, epochs=1), shuffles=1)),
        unregress.Published(recipe=replace(RECIPE, epochs=1)),
    )
    rule = unregress.Rule(golds=3, samples=5)
    return unregress.audit(case(), {"original": original, **made}, CPU, golds=golds, metrics=metrics, rule=rule)


@pytest.mark.slow
def test_everything_is_measured_of_every_model(report: AuditReport) -> None:
    missing = {measure.metric for measure in report.measures if measure.value is None and measure.model != CONSTANT}
    assert missing <= {"ain", "published-ain"}  # there may be nothing to relearn
    assert {verdict.model for verdict in report.verdicts} == {"original", *METHODS, CONSTANT, "blindspot's helper"}
    criteria = {(c.metric, c.split) for c in report.verdict("finetune").criteria}
    assert criteria > {(question.metric, question.split) for question in CRITERIA}
    assert {metric for metric, _ in criteria} >= {"memory-signs", "relearn-loss", "revival"}
    assert any("14.3% of the samples' outputs are not known" in caveat for caveat in report.caveats)


def test_the_constant_answers_with_the_known_medians(report: AuditReport) -> None:
    """And so errs by one spread, of each output's known retained targets, on those."""
    assert report.value("mae", "train-retain", CONSTANT) == pytest.approx(1.0, abs=0.01)
    _, y = data()
    forget = list(FORGET)
    kept = np.delete(y[:TRAIN].double().numpy(), forget, axis=0)
    middle = np.nanmedian(kept, axis=0)
    spread = np.nanmean(np.abs(kept - middle), axis=0)
    errors = np.abs(y[:TRAIN].double().numpy()[forget] - middle) / spread
    assert report.value("mae", "train-forget", CONSTANT) == pytest.approx(np.nanmean(errors), rel=0.02)


def test_a_masking_loss_of_ones_own_is_the_named_one() -> None:
    named, mine = (unregress.train(case(loss), RECIPE, CPU) for loss in ("l1", own))
    assert [epoch.loss for epoch in named.history] == pytest.approx([epoch.loss for epoch in mine.history])


@pytest.mark.parametrize("loss", ["l1", own])
def test_golds_in_a_stack_are_what_they_are_alone(loss: Any) -> None:
    factory = ModelFactory(case=case(loss), recipe=RECIPE, runtime=CPU)
    alone, together = factory.golds([1, 2]), factory.golds([1, 2], stack=2)
    for one, other in zip(alone, together, strict=True):
        for weight, stacked in zip(one.unlearned.model.parameters(), other.unlearned.model.parameters(), strict=True):
            assert torch.allclose(weight, stacked, atol=1e-5)


def test_what_is_unknown_is_not_relabelled() -> None:
    seen: list[Tensor] = []

    def spy(prediction: Tensor, target: Tensor) -> Tensor:
        seen.append(target.clone())
        return own(prediction, target)

    _, y = data()
    labels = torch.full((len(FORGET), 2), 7.0)
    rows = torch.tensor([0, 1, 3, 4])
    forget = torch.tensor([True, False, False, True])
    relabelled_loss(case(spy), labels)(net(), Batch(rows, forget, [data()[0][rows], y[rows]]))
    assert seen[0][0, 0] == 7 and seen[0][0, 1].isnan()  # sample 0
    assert seen[0][3].tolist() == [7, 7]  # sample 4
    assert seen[0][1].equal(y[1]) and seen[0][2, 0].isnan() and seen[0][2, 1] == y[3, 1]


@pytest.mark.parametrize("statistics", ["all", "retain", "forget"])
def test_labels_are_drawn_like_the_known_ones(statistics: Any) -> None:
    method = unregress.GaussianAmnesiac(recipe=RECIPE, statistics=statistics)
    _, notes = method.draw(torch.Size((3, 2)), case(), torch.Generator())
    y = data()[1][:TRAIN].double().numpy()
    rows = {"all": y, "retain": np.delete(y, list(FORGET), axis=0), "forget": y[list(FORGET)]}[statistics]
    mean, deviation = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    expected = f"N({mean[0]:.4g}, {mean[1]:.4g}, {deviation[0]:.4g}, {deviation[1]:.4g})"
    assert notes == (f"labels drawn from {expected} of {statistics} labels",)


def test_methods_are_examined_over_the_known_outputs() -> None:
    brief = replace(RECIPE, epochs=1)
    methods = {"mine": unregress.FineTune(recipe=brief)}
    deep = (
        unregress.KLoM(recipe=brief, methods=methods, models=4),
        unregress.ULiRA(recipe=brief, methods=methods, models=6),
    )
    report = unregress.audit(case(), {"original": net(), "mine": net()}, CPU, golds=[net()], metrics=deep)
    found = {(measure.metric, measure.model): measure for measure in report.measures}
    assert {"klom", "klom-95", "ulira", "ulira-auc"} <= {metric for metric, _ in found}
    values = [found[metric, "mine"].value for metric in ("klom", "klom-95", "ulira", "ulira-auc")]
    assert all(value is not None and value > 0 for value in values)


def test_what_is_unknown_has_no_size() -> None:
    """Sizes |y| + y²: of 1 and 2, and of 3: (2 + 6 + 12) / 3."""
    scale = TargetScale()
    target = torch.tensor([[1.0, 2.0], [float("nan"), 3.0], [50.0, 50.0]])
    forget = torch.tensor([False, False, True])
    scale.watch(case(), Batch(torch.arange(3), forget, [torch.zeros(3, 4), target]))
    assert scale.value(CPU.process_group) == pytest.approx(20 / 3)
