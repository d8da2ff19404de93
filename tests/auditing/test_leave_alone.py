"""Metrics leave models alone, and no number depends on order, batches, rows or units."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import unregress
from support.bump_case import (
    RELEARN,
    RUNTIME,
    TEST,
    TRAIN,
    VALIDATION,
    Rows,
    curves,
    differing,
    net,
    numbers,
    small_case,
    table,
)
from unregress.evidence import AuditReport
from unregress.evidence.verdict import judge
from unregress.metrics import (
    Anamnesis,
    DeletionAttack,
    EnergyDistance,
    Metric,
    RetainedPrivacy,
    default_metrics,
)

pytestmark = pytest.mark.slow

METRICS = (*default_metrics(RELEARN), EnergyDistance(), DeletionAttack(), RetainedPrivacy())
EACH = [pytest.param((metric,), id=type(metric).__name__) for metric in METRICS] + [pytest.param(METRICS, id="all")]


def used() -> nn.Module:
    """A model with all that a metric could disturb: gradients, mixed modes, frozen parts, buffers, hooks."""
    model = net()
    x, y = table()
    (model(x[:20]).squeeze(1) - y[:20]).abs().mean().backward()
    model[1].eval()
    model[4].requires_grad_(False)
    model[0].register_forward_hook(lambda module, args, output: output)
    model[0].register_forward_pre_hook(lambda module, args: None)
    return model


def state(model: nn.Module) -> dict[str, Any]:
    """Everything of a model that could change."""

    def digest(tensor: Tensor | None) -> str:
        return "" if tensor is None else hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()

    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "values": {name: digest(value) for name, value in model.state_dict().items()},
        "gradients": {name: digest(parameter.grad) for name, parameter in model.named_parameters()},
        "trainable": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "identities": [id(parameter) for parameter in model.parameters()],
        "modes": {name: module.training for name, module in model.named_modules()},
        "hooks": {n: [list(getattr(m, hook)) for hook in hooks] for n, m in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
    }


def global_draws() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # type: ignore[union-attr]


def test_the_fingerprint_notices_every_kind_of_change() -> None:
    model = used()
    before = state(model)
    for key, change in {
        "values": lambda: model[1].running_mean.add_(1),
        "gradients": lambda: model.zero_grad(),
        "trainable": lambda: model[0].requires_grad_(False),
        "modes": lambda: model[1].train(),
        "hooks": lambda: model[2].register_forward_hook(print),
        "identities": lambda: setattr(model[4], "weight", copy.deepcopy(model[4].weight)),
    }.items():
        change()
        assert state(model)[key] != before[key]


@pytest.mark.parametrize("metrics", EACH)
@pytest.mark.parametrize("kind", [TensorDataset, Rows])
def test_models_and_global_random_state_are_untouched(kind: type[Dataset[Any]], metrics: tuple[Metric, ...]) -> None:
    models = {"original": used(), "unlearned": used()}
    golds = [used(), used()]
    case = small_case(kind=kind)
    modules = [*models.values(), *golds]
    before = [state(model) for model in modules], global_draws()
    unregress.audit(case, models, RUNTIME, golds=golds, metrics=metrics)
    assert ([state(model) for model in modules], global_draws()) == before


class Noisy(nn.Module):
    """Draws in evaluation mode too, as Monte Carlo dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + torch.randn(len(x), 1)


@dataclass(frozen=True)
class Audited:
    """Models and golds, to be audited in some case."""

    models: dict[str, nn.Module]
    golds: list[nn.Module]

    def audit(
        self, case: unregress.Case, metrics: Sequence[Metric] = METRICS, runtime: unregress.Runtime = RUNTIME
    ) -> AuditReport:
        return unregress.audit(case, self.models, runtime, golds=self.golds, metrics=metrics)


@pytest.fixture(scope="module")
def audited(original: unregress.Unlearned, golds: list[unregress.Unlearned]) -> Audited:
    torch.manual_seed(0)
    models = {"original": original.model, "other": golds[5].model, "fresh": net()}
    return Audited(models, [gold.model for gold in golds[:5]])


@pytest.fixture(scope="module")
def report(case: unregress.Case, audited: Audited) -> AuditReport:
    return audited.audit(case)


def test_same_audit_same_report(report: AuditReport, case: unregress.Case, audited: Audited) -> None:
    assert audited.audit(case) == report


def answers(report: AuditReport) -> dict[str, Any]:
    """What is concluded of each model, criterion by criterion."""
    return {
        verdict.model: (verdict.outcome, {(one.metric, one.split): one.outcome for one in verdict.criteria})
        for verdict in report.verdicts
    }


@pytest.mark.parametrize("rotation", [1, 2, 4])
def test_order_of_models_and_metrics_is_nothing(
    report: AuditReport, case: unregress.Case, audited: Audited, rotation: int
) -> None:
    models = dict(reversed(audited.models.items())) if rotation % 2 else audited.models
    found = replace(audited, models=models).audit(case, METRICS[rotation:] + METRICS[:rotation])
    assert numbers(found) == numbers(report)
    assert {(m.metric, m.split, m.model): (m.interval, m.p) for m in found.measures} == {
        (m.metric, m.split, m.model): (m.interval, m.p) for m in report.measures
    }
    assert curves(found.figures) == curves(report.figures)
    assert set(found.verdicts) == set(report.verdicts)


def test_order_of_golds_is_nothing_but_to_rounding(report: AuditReport, case: unregress.Case, audited: Audited) -> None:
    """Golds are exchangeable: in another order each has another name and the same numbers, and all else is the same."""
    found = replace(audited, golds=audited.golds[::-1]).audit(case)
    names = dict(zip(report.golds, reversed(report.golds), strict=True))
    renamed = tuple(replace(measure, model=names.get(measure.model, measure.model)) for measure in found.measures)
    assert not differing(report, replace(found, measures=renamed), rel=1e-9)
    assert {(m.metric, m.split, m.model): m.p for m in found.measures} == {
        (m.metric, m.split, m.model): m.p for m in report.measures
    }
    assert answers(found) == answers(report)


def test_each_metric_by_itself_finds_the_same(report: AuditReport, case: unregress.Case, audited: Audited) -> None:
    alone = {}
    for metric in METRICS:
        alone |= numbers(audited.audit(case, [metric]))
    assert alone == numbers(report)


def test_order_is_nothing_to_a_model_that_draws_in_evaluation_mode(case: unregress.Case) -> None:
    torch.manual_seed(0)
    noisy, golds = {"original": Noisy(), "other": Noisy(), "third": Noisy()}, [Noisy(), Noisy()]
    first, second = (
        unregress.audit(case, asked, RUNTIME, golds=golds, metrics=METRICS)
        for asked in (noisy, dict(reversed(noisy.items())))
    )
    assert numbers(first) == numbers(second)


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_size_of_evaluation_batches_is_nothing(
    report: AuditReport, case: unregress.Case, audited: Audited, batch_size: int
) -> None:
    found = audited.audit(case, runtime=replace(RUNTIME, evaluation_batch_size=batch_size))
    assert not differing(report, found, rel=1e-5)
    assert answers(found) == answers(report)


def test_streaming_data_gives_the_same_numbers(report: AuditReport, audited: Audited) -> None:
    found = audited.audit(small_case(kind=Rows))
    assert not differing(report, found, rel=1e-6)
    assert answers(found) == answers(report)


PURE = (unregress.Errors(), unregress.Wasserstein(), unregress.Deviation())


def test_order_of_rows_is_nothing_to_pure_metrics(report: AuditReport, audited: Audited) -> None:
    """The attack draws its samples and relearning its batches by position; the others know no position."""
    x, y = table()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    x, y = torch.cat([x[TRAIN][order], x[300:]]), torch.cat([y[TRAIN][order], y[300:]])
    case = small_case(
        request=unregress.ForgetRequest.band(y[TRAIN], low=62, reason="the bump"),
        train=TensorDataset(x[TRAIN], y[TRAIN]),
    )
    pure = [audited.audit(c, PURE) for c in (small_case(), case)]
    assert not differing(*pure, rel=1e-6)
    assert numbers(pure[0]).items() <= numbers(report).items()


class Scaled(nn.Sequential):
    """A model whose predictions are in units ten times smaller."""

    def forward(self, x: Tensor) -> Tensor:
        return 10 * super().forward(x)


ACTIVE = (Anamnesis, unregress.Representation, unregress.Revival)
"""They train, or look at layers before the last one: what they do in other units is theirs to test."""


def test_change_of_units_scales_what_has_a_unit_and_nothing_else(report: AuditReport, audited: Audited) -> None:
    x, y = table()
    y = 10 * y
    case = small_case(
        request=unregress.ForgetRequest.band(y[TRAIN], low=620, reason="the bump"),
        train=TensorDataset(x[TRAIN], y[TRAIN]),
        validation=TensorDataset(x[VALIDATION], y[VALIDATION]),
        test=TensorDataset(x[TEST], y[TEST]),
    )
    metrics = [metric for metric in METRICS if not isinstance(metric, ACTIVE)]
    scaled = Audited(
        {name: Scaled(model) for name, model in audited.models.items()}, [Scaled(model) for model in audited.golds]
    )
    names = {about.metric for metric in metrics for about in metric.about}
    kept = replace(report, measures=tuple(m for m in report.measures if m.metric in names))
    units = {about.metric: 10.0 for metric in metrics for about in metric.about if about.unit == "target units"}
    found = scaled.audit(case, metrics)
    assert {"w1", "paired", "mae", "rmse"} <= units.keys()
    assert not differing(kept, found, scale=units, rel=2e-5)
    assert answers(found) == answers(replace(kept, verdicts=judge(kept, unregress.Rule())))
