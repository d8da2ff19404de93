"""`Predictions` keep their promises, and `collect` asks in evaluation mode, in any batches, of any rows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import unregress
from support.hand_panels import panel, seen
from unregress.data.loading import Source
from unregress.errors import DataError, ModelError, UnregressError
from unregress.metrics import spill
from unregress.metrics.predictions import Predictions, require_aligned

GOOD = seen([1.0, 2.0, 3.0])


class Rows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The same data as a `TensorDataset`, one row at a time: the streaming path."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[row], self.y[row]


@pytest.mark.parametrize(
    "broken",
    [
        {"index": np.array([0, 2, 1])},
        {"index": np.array([0, 1, 1])},
        {"index": np.array([0, 1])},
        {"target": np.ones((3, 1))},
        {"loss": np.ones(2)},
        {"activation": np.ones((4, 2), dtype=np.float32)},
        {"target": np.array([1.0, np.nan, 3.0])},
    ],
    ids=["unsorted", "repeated", "short index", "other shape", "short loss", "long activation", "NaN target"],
)
def test_what_does_not_belong_together_is_refused(broken: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError):
        replace(GOOD, **broken)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ModelError, match=r"1 samples.* the first at position 2"):
        replace(GOOD, prediction=np.array([1.0, 2.0, bad]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_losses_that_are_no_numbers_are_refused(bad: float) -> None:
    """Else an audit runs to its end and then cannot be written."""
    with pytest.raises(UnregressError, match="loss"):
        replace(GOOD, loss=np.array([1.0, bad, 3.0]))


def test_at_joins_by_index() -> None:
    sparse = replace(GOOD, index=np.array([10, 20, 30]))
    assert sparse.at(np.array([10, 30])).prediction.tolist() == [1, 3]
    assert sparse.at(np.array([10, 30])).index.tolist() == [10, 30]
    assert len(sparse.at(np.zeros(0, dtype=np.int64))) == 0
    following = replace(GOOD, index=np.arange(10, 10 + len(GOOD)))
    assert following.at(np.array([11, 12])).prediction.tolist() == GOOD.prediction[1:3].tolist()
    for outside in (9, 10 + len(GOOD)):
        with pytest.raises(DataError, match="not predicted"):
            following.at(np.array([outside]))
    with pytest.raises(DataError, match="not predicted"):
        sparse.at(np.array([10, 15]))
    with pytest.raises(DataError, match="not ascending"):
        sparse.at(np.array([30, 10]))


def test_only_predictions_about_the_same_samples_are_aligned() -> None:
    require_aligned(GOOD, seen([5.0, 6.0, 7.0]))
    with pytest.raises(DataError, match=r"\(3 and 2\)"):
        require_aligned(GOOD, GOOD.at(np.array([0, 1])))


def test_no_metric_is_given_predictions_about_different_samples() -> None:
    asked = {"original": {"train-forget": GOOD}, "gold": {"train-forget": GOOD.at(np.array([0, 1]))}}
    with pytest.raises(DataError, match=r"different samples \(2 and 3\)"):
        panel(asked)
    with pytest.raises(DataError, match="'original' and 'gold' have predictions for different parts"):
        panel({**asked, "gold": {"test-forget": GOOD}})


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(23, 4, generator=torch.Generator().manual_seed(0))
    return drawn[:, :3], drawn[:, 3]


def ask(dataset: Dataset[object], batch_size: int = 1024, **options: object) -> Predictions:
    task = unregress.TensorTask(build_model=net, loss="mse")
    source = Source(dataset, torch.zeros(23, dtype=torch.bool))
    runtime = unregress.Runtime(accelerator="cpu", evaluation_batch_size=batch_size)
    return unregress.collect(net(), task, source, runtime, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [1, 7, 22, 1000])
@pytest.mark.parametrize("kind", [TensorDataset, Rows])
def test_same_answers_in_any_batches_on_both_paths(
    data: tuple[torch.Tensor, torch.Tensor], kind: type[Dataset[object]], batch_size: int
) -> None:
    x, y = data
    with torch.no_grad():
        expected = net().eval()(x).squeeze(1)
    found = ask(kind(*data), batch_size, features=True)
    assert found.index.tolist() == list(range(23))
    assert found.target == pytest.approx(y.double().numpy())
    assert found.prediction == pytest.approx(expected.numpy(), abs=1e-6)
    assert found.loss == pytest.approx((expected - y).square().numpy(), abs=1e-6)
    assert found.activation is not None and found.activation.shape == (23, 8)
    assert found.gradient is not None and found.gradient.shape == (23, 9)


def test_rows_can_be_chosen(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    everything, some = ask(TensorDataset(*data)), ask(TensorDataset(*data), rows=np.array([2, 5, 22]))
    assert some.index.tolist() == [2, 5, 22]
    assert some.prediction == pytest.approx(everything.prediction[[2, 5, 22]], abs=1e-6)
    assert some.activation is None and some.gradient is None


def test_large_arrays_lie_in_files_without_names(
    data: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def everything() -> dict[str, np.ndarray]:
        found = ask(TensorDataset(*data), 7, features=np.array([1, 4, 9])).at(np.arange(1, 20)).in_units(np.array(2.0))
        return vars(found)

    def root(array: np.ndarray) -> Any:
        return root(array.base) if isinstance(array.base, np.ndarray) else array

    in_memory = everything()
    assert not any(isinstance(root(array), np.memmap) for array in in_memory.values())
    monkeypatch.setattr(spill, "SPILLED", 8 * 19)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spilled = everything()
    assert {name for name, array in spilled.items() if isinstance(root(array), np.memmap)} == {
        "index", "prediction", "target", "loss"
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    for name, array in in_memory.items():
        assert np.array_equal(array, spilled[name]) and array.dtype == spilled[name].dtype


def test_a_model_that_predicts_no_numbers_is_refused(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = data[0].clone()
    x[4] = float("nan")
    with pytest.raises(ModelError, match="the first at position 4"):
        ask(TensorDataset(x, data[1]))
