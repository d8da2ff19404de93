"""MAE and RMSE by hand, as means over samples; the loss only where it is another number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from support.hand_panels import measures, panel, seen, values
from unregress.metrics.errors import Errors, mean_absolute_error, root_mean_squared_error


@pytest.mark.parametrize(
    ("prediction", "target", "mae", "rmse"),
    [
        ([1.0, 5.0], [2.0, 2.0], 2.0, 5.0**0.5),  # errors 1, 3
        ([0.0, 0.0], [1.0, 7.0], 4.0, 5.0),
        ([[0.0, 0.0], [0.0, 0.0]], [[1.0, -1.0], [1.0, 7.0]], 2.5, 13.0**0.5),  # over outputs too
        ([2.0], [2.0], 0.0, 0.0),
    ],
)
def test_by_hand(prediction: list[float], target: list[float], mae: float, rmse: float) -> None:
    assert mean_absolute_error(np.array(prediction), np.array(target)) == pytest.approx(mae)
    assert root_mean_squared_error(np.array(prediction), np.array(target)) == pytest.approx(rmse)


def test_every_part_of_every_model_has_its_own_error() -> None:
    found = values(
        Errors(),
        panel(
            {
                "original": {"train-retain": seen([2.0, 1.0]), "test-forget": seen([4.0])},
                "model": {"train-retain": seen([1.0, 1.0]), "test-forget": seen([-1.0])},
            }
        ),
    )
    assert found == {
        ("mae", "train-retain", "original"): 0.5,
        ("rmse", "train-retain", "original"): pytest.approx(0.5**0.5),
        ("mae", "train-retain", "model"): 0,
        ("rmse", "train-retain", "model"): 0,
        ("mae", "test-forget", "original"): 3,
        ("rmse", "test-forget", "original"): 3,
        ("mae", "test-forget", "model"): 2,
        ("rmse", "test-forget", "model"): 2,
    }


def test_errors_are_ranked_among_the_golds_on_either_side() -> None:
    """Golds err by 4, 5, 6.  By 0 or by 10 a model is farthest of four; by 5 it is nobody's outlier."""
    errors = {"original": 0.0, "model": 10.0, "constant": 5.0, "gold": 4.0, "gold 2": 5.0, "gold 3": 6.0}
    found = measures(Errors(), panel({name: {"train-retain": seen([1 + error])} for name, error in errors.items()}))
    ranks = {model: measure.p for (metric, _, model), measure in found.items() if metric == "mae"}
    assert ranks == {"original": 1 / 4, "model": 1 / 4, "constant": 1, "gold": None, "gold 2": None, "gold 3": None}


@pytest.mark.parametrize("golds", [[], ["gold"]])
def test_without_a_second_gold_there_are_errors_and_no_ranks(golds: list[str]) -> None:
    names = ["original", "model", *golds]
    found = measures(Errors(), panel({name: {"train-retain": seen([2.0, 4.0])} for name in names}))
    assert {(model, measure.value, measure.p) for (metric, _, model), measure in found.items() if metric == "mae"} == {
        (name, 2.0, None) for name in names
    }


@pytest.mark.parametrize(
    ("loss", "shown"),
    [([1.0, 3.0], False), ([1.0, 9.0], False), ([0.5, 1.5], True)],
    ids=["absolute", "squared", "pinball"],
)
def test_loss_is_a_row_only_where_it_says_something_new(loss: list[float], shown: bool) -> None:
    found = values(Errors(), panel({"original": {"train-retain": seen([2.0, 4.0], loss=loss)}}))
    assert found.get(("loss", "train-retain", "original")) == (1.0 if shown else None)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * x


@pytest.mark.parametrize("batch_size", [1, 4, 5, 1024])
def test_means_are_over_samples_whatever_the_batches(batch_size: int) -> None:
    """Errors 0, 0, 0, 0, 10: mean 2.  A mean of the batch means of 4 and 1 would be 5."""
    x = torch.arange(5.0)
    y = x.clone()
    y[4] += 10
    task = unregress.TensorTask(build_model=Line, loss="mse")
    case = unregress.Case(
        task=task,
        splits=unregress.Splits(
            train=TensorDataset(x, y),
            test=TensorDataset(x, y),
        ),
        request=unregress.ForgetRequest(size=5, forget=(0,), reason="test"),
    )
    runtime = unregress.Runtime(accelerator="cpu", evaluation_batch_size=batch_size)
    report = unregress.audit(case, {"original": Line()}, runtime, metrics=[Errors()])
    assert report.value("mae", "test-retain", "original") == pytest.approx(2)
    assert report.value("rmse", "test-retain", "original") == pytest.approx(20**0.5)
    assert report.value("mae", "train-retain", "original") == pytest.approx(2.5)
    assert report.value("mae", "train-forget", "original") == 0
