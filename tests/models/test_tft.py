"""The Temporal Fusion Transformer: shapes, what it reads, copies and weights on disk."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from support.small_cases import CPU, weights
from unregress import ForecastingTask, Recipe
from unregress.datasets.series.series import Series, hour_of
from unregress.datasets.series.windowed import Boundaries, WindowedSeries
from unregress.errors import PreflightError, SettingError
from unregress.methods.original import train
from unregress.runs.checkpoint import load_weights, save_weights
from unregress.training.fresh_model import fresh_model

pytest.importorskip("pytorch_forecasting")

from unregress.experiments.families.series import FAMILIES
from unregress.models.tft import AXES, LAYERS, tft

START = hour_of("2014-01-01")


@pytest.fixture(scope="module")
def cut() -> WindowedSeries:
    values = np.sin(np.arange(80) / 4)
    series = Series.of({"a": (START, values), "b": (START, 5 + 2 * values)})
    limits = Boundaries(train=START, validation=START + 40, test=START + 60, end=START + 80)
    return WindowedSeries(series=series, boundaries=limits, encoder=12, horizon=2)


def build(cut: WindowedSeries, **more: Any) -> nn.Module:
    return tft(**{**cut.variables, "hidden": 8, **more})


@pytest.mark.parametrize(
    "more", [{}, {"heads": 4}, {"lstm_layers": 2}, {"levels": (0.5,)}, {"dropout": 0.0, "continuous": 2}]
)
def test_levels_for_every_window_and_hour(cut: WindowedSeries, more: dict[str, Any]) -> None:
    x, _ = cut.splits().train.__getitems__([0, 5, 30])  # type: ignore[attr-defined]
    with torch.no_grad():
        prediction = build(cut, **more).eval()(x).prediction
    assert prediction.shape == (3, 2, len(more.get("levels", (0.1, 0.5, 0.9))))
    assert prediction.isfinite().all()


def test_it_reads_everything_but_what_it_forecasts(cut: WindowedSeries) -> None:
    model = build(cut, dropout=0.0).eval()
    x, _ = cut.splits().train.__getitems__([3])  # type: ignore[attr-defined]
    with torch.no_grad():
        before = model(x).prediction
        for name, column in (("encoder_cont", 0), ("encoder_cont", 1), ("decoder_cont", 0), ("decoder_cat", 1),
                             ("encoder_cat", 0), ("encoder_cat", 1), ("encoder_cat", 2)):  # fmt: skip
            other = {**x, name: x[name].clone()}
            # Another client, hour, day, time or value.
            other[name][..., column] = (x[name][..., column] + 1) % 2 if name.endswith("cat") else 2.5
            assert not torch.equal(model(other).prediction, before), (name, column)
        # The values to be forecast, which the batch holds as well, and whatever only serves other models.
        blind = {**x, "decoder_cont": x["decoder_cont"].clone(), "decoder_target": x["decoder_target"] + 9}
        blind["decoder_cont"][..., 1] += 9
        blind["target_scale"] = x["target_scale"] * 7
        assert torch.equal(model(blind).prediction, before)


def test_the_same_seed_makes_the_same_bytes_without_a_word(
    cut: WindowedSeries, capfd: pytest.CaptureFixture[str]
) -> None:
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with CPU.isolated_rng("fresh"):
                made.append(weights(build(cut)))
    assert made[0] == made[1]
    assert capfd.readouterr() == ("", "")


def test_weights_alone_are_its_state(cut: WindowedSeries, tmp_path: Path) -> None:
    """The loss that pytorch-forecasting keeps in the model is a metric with counters: none of them is a weight."""
    first, second = build(cut), build(cut)
    assert set(first.state_dict()) == {name for name, _ in first.named_parameters(remove_duplicate=False)}
    assert weights(first) != weights(second)
    save_weights(first, tmp_path / "tft.safetensors")
    load_weights(second, tmp_path / "tft.safetensors")
    assert weights(first) == weights(second)


def test_a_trained_one_can_be_copied_and_is_of_its_task_s_architecture(cut: WindowedSeries) -> None:
    task = ForecastingTask(lambda: build(cut))
    case = cut.case(task, cut.band(low=1), reason="high")
    made = train(case, Recipe(batch_size=32), CPU).model
    twin = CPU.private_copy(CPU.private_copy(made))
    assert weights(twin) == weights(made)
    assert weights(fresh_model(case, made)) != weights(made)


def test_layers_to_compare_are_there(cut: WindowedSeries) -> None:
    names = dict(build(cut).named_modules())
    assert all(name in names for name in LAYERS)
    # The families name them again, since they are listed where pytorch-forecasting is not installed.
    assert FAMILIES["mt200"].layers == AXES


def test_numbers_out_of_range_are_refused_together(cut: WindowedSeries) -> None:
    with pytest.raises(PreflightError, match=r"hidden is 10(?s:.*)a multiple of the 4 heads(?s:.*)dropout is 1"):
        build(cut, hidden=10, heads=4, dropout=1)
    with pytest.raises(SettingError, match="continuous is 0"):
        build(cut, continuous=0)
