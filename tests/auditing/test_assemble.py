"""Everybody's predictions side by side: which features are kept, and in which units several outputs are compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import RUNTIME, TEST, TRAIN, VALIDATION, net, numbers, small_case, table
from unregress.auditing import assemble as panel
from unregress.evidence.noise_floor import mean_confidence_interval
from unregress.metrics import Membership, Representation, default_metrics, spill


def test_features_are_kept_of_some_samples_of_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "FEATURED", 20)
    case = small_case()
    candidates: list[panel.Participant] = [("original", "original", net()), ("one", "gold", net())]
    found, caveats = panel.assemble(case, candidates, RUNTIME, features=True)
    assert caveats == []
    sizes = {name: len(part) for name, part in found.original.parts.items()}
    for name, part in found.original.parts.items():
        kept = part.with_features()
        assert len(kept) == min(20, sizes[name]) and kept.activation is not None and kept.gradient is not None
        assert kept.activation.shape == (len(kept), 16) and kept.gradient.shape == (len(kept), 17)
        # The same samples of every model, and the same numbers as if all had been kept.
        assert np.array_equal(found.golds[0].parts[name].featured, part.featured)
        everything = unregress.collect(
            found.original.model,  # type: ignore[arg-type]
            case.task,
            case.source("train_eval" if name.startswith("train") else "test"),
            RUNTIME,
            features=True,
        ).at(part.featured)
        assert np.array_equal(kept.activation, everything.activation)  # type: ignore[arg-type]
        assert np.array_equal(kept.gradient, everything.gradient)  # type: ignore[arg-type]


def test_the_attack_says_of_how_many_forgotten_samples_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "FEATURED", 20)
    metrics = [Membership(), Representation()]
    report = unregress.audit(small_case(), {"original": net()}, RUNTIME, golds=[net()], metrics=metrics)
    forgotten = report.samples["train-forget"]
    assert report.measure("attack", "train-forget", "original").note.endswith(
        f"asked about 20 of the {forgotten} forgotten samples"
    )
    assert report.value("probe-auc", "train-forget", "original") is not None


def test_nothing_depends_on_the_units_of_several_outputs() -> None:
    """One output in grams instead of kilograms, by a model that answers in grams."""
    x, y = table()
    targets = torch.stack([y, y.flip(0) / 10], dim=1)

    def audited(units: torch.Tensor) -> unregress.AuditReport:
        def make(seed: int) -> nn.Module:
            generator = torch.Generator().manual_seed(seed)
            model = nn.Linear(3, 2)
            model.weight.data = units[:, None] * torch.randn(2, 3, generator=generator)
            model.bias.data = units * torch.tensor([50.0, 5.0])
            return model

        wide = targets * units
        case = small_case(
            task=unregress.TensorTask(build_model=lambda: make(0), loss="l1"),
            request=unregress.ForgetRequest.where((y[TRAIN] >= 62).numpy(), reason="test"),
            train=TensorDataset(x[TRAIN], wide[TRAIN]),
            validation=TensorDataset(x[VALIDATION], wide[VALIDATION]),
            test=TensorDataset(x[TEST], wide[TEST]),
        )
        metrics = [unregress.Errors(), unregress.Wasserstein(), unregress.Deviation()]
        golds = [make(seed) for seed in range(2, 8)]
        return unregress.audit(case, {"original": make(0), "mine": make(1)}, RUNTIME, golds=golds, metrics=metrics)

    kilograms, grams = audited(torch.tensor([1.0, 1.0])), audited(torch.tensor([1.0, 1024.0]))
    own = numbers(kilograms)
    for place, (value, _, _) in numbers(grams).items():
        if place[0] != "loss":  # the task's own
            assert value == pytest.approx(own[place][0], rel=1e-4), place
    assert [verdict.outcome for verdict in grams.verdicts] == [verdict.outcome for verdict in kilograms.verdicts]
    # A constant that answers with the medians is one spread off on what it knows, by the unit's definition.
    assert grams.value("mae", "train-retain", "constant") == pytest.approx(1, rel=1e-3)
    (said,) = [caveat for caveat in grams.caveats if "means over 2 outputs" in caveat]
    assert "in units of its spread" in said


def test_intervals_of_distances_by_hand() -> None:
    """Distances 1, 2 and 3 to three golds: 2 ± t · 1 / √3, with Student's t = 4.303 of two degrees of freedom."""
    assert mean_confidence_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((0.0, 2 + 4.302653 / np.sqrt(3)))
    assert mean_confidence_interval(np.array([11.0, 12.0, 13.0])) == pytest.approx(
        (12 - 4.302653 / np.sqrt(3), 12 + 4.302653 / np.sqrt(3))
    )
    assert mean_confidence_interval(np.array([1.0])) is None


def test_an_audit_says_the_same_with_its_predictions_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    models, golds = {"original": net(), "other": net()}, [net(), net()]
    metrics = [metric for metric in default_metrics() if not isinstance(metric, unregress.Anamnesis)]

    def audited() -> unregress.AuditReport:
        return unregress.audit(small_case(), models, RUNTIME, golds=golds, metrics=metrics)

    in_memory = audited()
    monkeypatch.setattr(spill, "SPILLED", 0)
    assert numbers(audited()) == numbers(in_memory)
