"""Bands of targets: a limit that a target has includes it, however the targets were scaled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Runtime, Splits, TensorTask, preflight
from unregress.data.bands import as_band, in_band, in_units
from unregress.data.conditions import named_by_content
from unregress.errors import PreflightError, RequestError

RNG = np.random.default_rng(0)
TABLES = {
    "whole": RNG.integers(20, 90, 500).astype(np.float64),
    "one decimal": RNG.integers(400, 1200, 500) / 10,
    "far from 0": 1_000_000.0 + RNG.integers(0, 300, 500),
    "near 0 and far": np.append(RNG.integers(1, 50, 300) / 10, RNG.integers(1000, 3000, 200)),
    "all digits": RNG.normal(70, 12, 500).clip(1),
}
SCALERS: dict[str, Callable[[], Any]] = {
    "standard": StandardScaler,
    "0 to 1": MinMaxScaler,
    "log": partial(FunctionTransformer, np.log, np.exp),
    "decreasing": partial(FunctionTransformer, lambda values: 5 - values / 10, lambda values: 10 * (5 - values)),
}
CPU = Runtime(accelerator="cpu")


def scaled(values: np.ndarray, name: str, dtype: Any = np.float64) -> tuple[TensorTask, Tensor]:
    """A task and the targets in single precision, scaled in a given one."""
    table = values.astype(dtype)[:, None]
    scaler = SCALERS[name]().fit(table)
    task = TensorTask(partial(nn.Linear, 1, 1), scaler=scaler)
    return task, torch.tensor(scaler.transform(table)[:, 0], dtype=torch.float32)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.filterwarnings("ignore:The provided functions are not strictly inverse")
@pytest.mark.parametrize("table", ["whole", "one decimal"])
def test_every_limit_that_is_a_target_includes_it(table: str, scaler: str, dtype: Any) -> None:
    values = TABLES[table]
    task, targets = scaled(values, scaler, dtype)
    units, rounding = in_units(targets, task)
    for limit in np.unique(values):
        assert (in_band(units, limit, None, rounding) == (values >= limit)).all()
        assert (in_band(units, None, limit, rounding) == (values <= limit)).all()


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_limit_of_many_digits_takes_nothing_but_what_rounds_to_it(scaler: str) -> None:
    values = TABLES["all digits"]
    task, targets = scaled(values, scaler)
    units, rounding = in_units(targets, task)
    for limit in values:
        found = in_band(units, limit, None, rounding)
        assert found[values >= limit].all() and not found[values < limit - 1e-6 * limit].any()


@pytest.mark.parametrize("table", ["far from 0", "near 0 and far"])
@pytest.mark.parametrize("scaler", ["standard", "0 to 1"])
def test_limits_hold_where_scaling_costs_digits(table: str, scaler: str) -> None:
    values = TABLES[table]
    task, targets = scaled(values, scaler)
    units, rounding = in_units(targets, task)
    for limit in np.unique(values):
        assert (in_band(units, limit, limit, rounding) == (values == limit)).all()


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_request_takes_trained_and_held_out_samples_at_the_limit(scaler: str) -> None:
    values = TABLES["one decimal"]
    task, targets = scaled(values, scaler)
    x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    data = Splits(train=TensorDataset(x[:300], targets[:300]), test=TensorDataset(x[300:], targets[300:]))
    for limit in np.unique(values)[::40][1:]:
        request = named_by_content(data, task, band=(limit, None), reason="test")
        assert request is not None and request.forget == tuple(np.flatnonzero(values[:300] >= limit))
        case = Case(task=task, splits=data, request=request)
        assert (case.forget_like("test") == (values[300:] >= limit)).all()
    assert preflight(case, CPU).warnings == ()
    # A request that was made of the table's own numbers is the same.
    by_hand = ForgetRequest.band(values[:300], low=limit, reason="test")
    assert by_hand == request and preflight(Case(task=task, splits=data, request=by_hand), CPU).warnings == ()


def test_targets_that_are_not_converted_are_as_exact_as_they_are() -> None:
    units, rounding = in_units(torch.tensor([2.2, 3.0]), TensorTask(partial(nn.Linear, 1, 1)))
    assert rounding is None and units.dtype == np.float32
    assert in_band(units, None, 2.2).tolist() == [True, False]


def test_unknown_and_infinite_targets_lie_in_no_band_by_rounding() -> None:
    task, _ = scaled(TABLES["whole"], "standard")
    values, rounding = in_units(torch.tensor([float("nan"), float("inf")]), task)
    assert rounding is not None and rounding.tolist() == [0, 0]
    assert in_band(values, 1, 5, rounding).tolist() == [False, False]


@pytest.mark.parametrize("band", [80, (80,), (1, 2, 3), "80", ("60", None), (float("nan"), None), (None, "x"),
                                  (80, 60), (None, None), {"low": 3}, (True, [3])])  # fmt: skip
def test_what_is_no_band_is_refused(band: Any) -> None:
    with pytest.raises(RequestError) as caught:
        as_band(band)
    assert caught.value.expected or caught.value.remedy


def test_a_band_may_be_a_list_or_an_array_and_each_wrong_limit_is_said() -> None:
    assert as_band([60, None]) == (60.0, None) and as_band(np.array([1, 2])) == (1.0, 2.0)
    with pytest.raises(PreflightError) as caught:
        as_band(("a", "b"))
    assert len(caught.value.complaints) == 2


def test_of_several_outputs_conditions_are_advised_for_python_and_the_command_line() -> None:
    with pytest.raises(RequestError) as caught:
        ForgetRequest.band(np.ones((3, 2)), low=0, reason="band")
    assert "--request.where" in caught.value.remedy and "where={" in caught.value.remedy
