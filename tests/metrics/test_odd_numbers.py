"""Metrics on odd but valid data: constants, ties, huge and tiny numbers, tiny parts, unknown outputs.

Whatever is found is a finite number, or None with a note that says why; nothing is raised and nobody is warned.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from support.every_metric import NAMES, made, of_predictions
from support.hand_panels import measures, panel, role
from unregress.evidence import AuditedModel, AuditReport, Measurement
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
from unregress.metrics import AttackAUC, Deviation, EnergyDistance, Errors, Membership, Wasserstein
from unregress.metrics.base import Panel
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.validation import validated_results

KINDS = ("usual", "constant", "ties", "huge", "tiny", "mixed", "zero")
RULE = Rule(golds=3, samples=1)
DISTANCES = (Wasserstein(), EnergyDistance(), Deviation())
REFUSES_FEW = {"ULiRA": "forgets four samples or more, and keeps as many; it says so before anything is trained"}
"""Metrics that refuse a case of two samples."""


def numbers(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Values:
    drawn = rng.normal(size=shape)
    return {
        "usual": drawn,
        "constant": np.full(shape, 3.0),
        "ties": np.round(drawn),
        "huge": drawn * 1e300,
        "tiny": drawn * 1e-310,
        "mixed": drawn * 10.0 ** rng.integers(-300, 300, size=shape),
        "zero": np.zeros(shape),
    }[kind]


def masked(rng: np.random.Generator, target: Values) -> Values:
    """Some outputs unknown, and of each sample at least one known."""
    flat = target.reshape(len(target), -1).copy()
    unknown = rng.random(flat.shape) < 0.6
    unknown[np.arange(len(flat)), rng.integers(flat.shape[1], size=len(flat))] = False
    flat[unknown] = np.nan
    return flat.reshape(target.shape)


@st.composite
def odd(draw: st.DrawFn) -> Panel:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    out = draw(st.sampled_from([(), (1,), (2,), (3, 2)]))
    sizes = {"train-retain": draw(st.sampled_from([1, 2, 14])), "train-forget": draw(st.sampled_from([1, 2, 11]))}
    sizes["test-retain"] = draw(st.sampled_from([1, 2, 12]))
    sizes |= {"test-forget": draw(st.sampled_from([1, 3, 10]))} if draw(st.booleans()) else {}
    kind = st.sampled_from(KINDS)
    targets = {part: numbers(rng, draw(kind), (size, *out)) for part, size in sizes.items()}
    if np.prod(out) > 1 and draw(st.booleans()):
        targets = {part: masked(rng, target) for part, target in targets.items()}
    names = ["original", "model", "constant", *["gold", "gold 2", "gold 3"][: draw(st.integers(0, 3))]]
    parts = {}
    for name in names:
        answers, losses, inner = draw(kind), draw(kind), draw(st.sampled_from([*KINDS, "broken"]))
        parts[name] = {
            part: seen(rng, target, answers, losses, "" if name == "constant" else inner)
            for part, target in targets.items()
        }
    return panel(parts)


def seen(rng: np.random.Generator, target: Values, answers: str, losses: str, inner: str) -> Predictions:
    found = Predictions(
        index=np.arange(len(target)),
        prediction=numbers(rng, answers, target.shape),
        target=target,
        loss=numbers(rng, losses, target.shape[:1]),
    )
    if not inner:
        return found
    features = numbers(rng, "usual" if inner == "broken" else inner, (len(target), 5)).clip(-1e38, 1e38)
    if inner == "broken":
        features[-1, 0] = np.nan
    single = features.astype(np.float32)
    return replace(found, featured=np.arange(len(target)), activation=single[:, :3], gradient=single[:, 3:])


def looked_at(measure: Measurement) -> None:
    assert measure.value is not None or measure.note
    json.dumps(asdict(measure), allow_nan=False)


@pytest.mark.slow
@settings(max_examples=40)
@given(asked=odd())
def test_any_panel_gives_numbers_or_says_why_not(asked: Panel) -> None:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in of_predictions().values():
            for finding in validated_results(metric, asked):
                if isinstance(finding, Measurement):
                    looked_at(finding)
                    found.append(finding)
        report = AuditReport(
            version="",
            reason="",
            request_digest="",
            target_band=None,
            samples={part: len(each) for part, each in asked.original.parts.items()},
            data_digest="",
            settings={},
            models=tuple(AuditedModel(name=subject.name, role=role(subject.name)) for subject in asked.subjects),
            about=(),
            measures=tuple(found),
            figures=(),
        )
        for verdict in judge(report, RULE):
            json.dumps([(asdict(each), min(each.resolution, 9)) for each in verdict.criteria], allow_nan=False)


def data(targets: str) -> torch.Tensor:
    drawn = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if targets == "huge":
        return drawn[:, 0] * 1e200
    if targets == "tiny":
        return drawn[:, 0] * 1e-310
    if targets == "constant":
        return torch.ones(40, dtype=torch.float64)
    drawn = drawn * torch.tensor([1e200, 1.0, 1e-200], dtype=torch.float64)
    drawn[::3, 0] = drawn[1::3, 2] = torch.nan
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize(("train", "forget", "test"), [(28, 10, 12), (2, 1, 1)], ids=["some", "two samples"])
@pytest.mark.parametrize("targets", ["huge", "tiny", "constant", "unknown"])
def test_whole_audits(targets: str, train: int, forget: int, test: int) -> None:
    y = data(targets)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1 if y.ndim == 1 else 3)).double()

    case = unregress.Case(
        task=unregress.TensorTask(build_model=make, loss="l1"),
        splits=unregress.Splits(
            train=TensorDataset(x[:train], y[:train]),
            test=TensorDataset(x[train : train + test], y[train : train + test]),
        ),
        request=unregress.ForgetRequest.random(train, forget, seed=0, reason="odd"),
    )
    noise = 0.1 * torch.randn(forget, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    metrics = [made(name, noise) for name in NAMES if train > 2 or name not in REFUSES_FEW]
    models = {"original": make(), "model": make()}
    runtime = unregress.Runtime(accelerator="cpu", precision="64-true")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        report = unregress.audit(case, models, runtime, golds=[make() for _ in range(3)], metrics=metrics, rule=RULE)
    for measure in report.measures:
        looked_at(measure)
    json.dumps(asdict(report), allow_nan=False)
    measured = {measure.metric for measure in report.measures}
    assert [metric for metric in metrics if not measured & {each.metric for each in metric.about}] == []


@pytest.mark.parametrize("unit", [2.0**600, 2.0**-600])
def test_another_unit_changes_the_unit_alone(unit: float) -> None:
    rng = np.random.default_rng(0)
    usual: dict[str, dict[str, Predictions]] = {}
    unusual: dict[str, dict[str, Predictions]] = {}
    for name in ("original", "model", "gold", "gold 2", "gold 3"):
        usual[name], unusual[name] = {}, {}
        for part in ("train-retain", "train-forget", "test-retain"):
            target = np.random.default_rng(7).normal(size=30)
            answer = target + rng.normal(size=30)
            for parts, factor in ((usual, 1.0), (unusual, unit)):
                loss = np.abs(answer - target)
                parts[name][part] = Predictions(
                    index=np.arange(30), prediction=answer * factor, target=target * factor, loss=loss * factor
                )
    metrics = (*DISTANCES, Errors(), AttackAUC(), Membership(features=("loss",)))
    units = {about.metric: about.unit for metric in metrics for about in metric.about}
    for metric in metrics:
        pairs = zip(measures(metric, panel(usual)).values(), measures(metric, panel(unusual)).values(), strict=True)
        for one, other in pairs:
            factor = unit if units[one.metric] == "target units" else 1.0
            assert one.value is not None and other.value == pytest.approx(one.value * factor)
            assert other.p == one.p
            if one.interval is not None:
                assert other.interval == pytest.approx([end * factor for end in one.interval])
