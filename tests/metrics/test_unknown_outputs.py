"""Several outputs of which some are not known (NaN in the target): measured over what is known, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support.every_metric import NAMES, made, of_predictions
from support.hand_panels import panel, values
from unregress import Case, ForgetRequest, Runtime, Splits, TensorTask, audit
from unregress.errors import DataError, ModelError
from unregress.evidence import Measurement
from unregress.metrics import Deviation, Errors, Metric, Wasserstein
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


def everything(panel: Panel) -> list[object]:
    return [finding for metric in of_predictions().values() for finding in metric.measure(panel)]


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


TRAINS_ITS_OWN = {
    "KLoM": "models of its own, whose initial weights depend on the number of outputs; by hand below",
    "ULiRA": "models of its own, whose initial weights depend on the number of outputs; by hand below",
}
"""Metrics that cannot be the same with one more output."""


def measured_with(outputs: int) -> dict[tuple[str, str, str], Measurement]:
    """What the metrics that ask models find, where the second output is known of some and a third one of none."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, outputs)).double()

    def drawn(seed: int) -> nn.Module:
        rng, model = torch.Generator().manual_seed(seed), make()
        # The same numbers for the outputs that both have.
        values = torch.randn(20, 5, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            model[0].weight.copy_(values[:4, :3])
            model[2].weight.copy_(values[4 : 4 + outputs, :4])
            model[2].bias.copy_(values[10 : 10 + outputs, 0])
            model[0].bias.copy_(values[16:20, 0])
        return model

    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=rng, dtype=torch.float64), torch.randn(40, 2, generator=rng).double()
    y[::3, 1] = torch.nan
    y = torch.cat([y, torch.full((40, 1), torch.nan, dtype=torch.float64)], dim=1)[:, :outputs]
    case = Case(
        task=TensorTask(make, loss="l1"),
        splits=Splits(train=TensorDataset(x[:28], y[:28]), test=TensorDataset(x[28:], y[28:])),
        request=ForgetRequest.random(28, 10, seed=0, reason="test"),
    )
    noise = 0.1 * torch.randn(10, 3, generator=rng, dtype=torch.float64)
    asking = [made(name, noise) for name in NAMES if name not in {*of_predictions(), *TRAINS_ITS_OWN}]
    models = {"original": drawn(1), "model": drawn(2)}
    golds = [drawn(seed) for seed in (3, 4, 5)]
    report = audit(case, models, Runtime(accelerator="cpu", precision="64-true"), golds=golds, metrics=asking)
    return {(each.metric, each.split, each.model): each for each in report.measures}


def test_an_output_of_which_nothing_is_known_tells_those_who_ask_models_nothing() -> None:
    known, wider = measured_with(2), measured_with(3)
    assert {"readout", "revival", "relearn-steps", "poison-score"} <= {metric for metric, _, _ in known}
    assert known.keys() == wider.keys()
    for key, each in known.items():
        expected = None if each.value is None else pytest.approx(each.value, rel=1e-9, abs=1e-12)
        assert wider[key].value == expected, key
    assert sum(each.value is None for each in known.values()) < len(known) / 4


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
