"""Task adapter for batches of pytorch-forecasting, `(x, (y, weight))`; it does not import that library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from unregress.errors import DataError, ModelError
from unregress.tasks.adapters import AdapterTask
from unregress.tasks.losses import PerSampleLoss

ForecastBatch = Sequence[Any]
"""`(x, (y, weight))`, as collated by `TimeSeriesDataSet`; x is a dict of tensors."""


class ForecastingTask(AdapterTask[ForecastBatch]):
    """Batches are pytorch-forecasting's `(x, (y, weight))`; the model is called as `model(x).prediction`.

    Targets are `(n, horizon)`, in the dataset's units.  With a quantile loss, predictions are `(n, horizon, levels)`
    and the point prediction is the median; with a loss on points they are `(n, horizon, 1)`.  A sample's loss is
    summed over levels and averaged over its horizon.

    Args:
        build_model: makes a new, untrained model.
        loss: `quantile` for the levels 0.1, 0.5, 0.9 (paper Section 6.3), `Quantile((...))` for other levels, or any
            loss that `TensorTask` takes.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> task = ForecastingTask(nn.Identity)
    >>> batch = ({"decoder_lengths": torch.ones(2)}, (torch.zeros(2, 1), None))
    >>> model = lambda x: SimpleNamespace(prediction=torch.ones(2, 1, 3))
    >>> task.loss(task.predict(model, batch), task.target(batch))
    tensor([1.5000, 1.5000])
    """

    def __init__(self, build_model: Callable[[], nn.Module], loss: str | PerSampleLoss = "quantile") -> None:
        super().__init__(build_model, loss)

    def predict(self, model: nn.Module, batch: ForecastBatch) -> Tensor:
        """Predict a batch: `(n, horizon, levels)`, or `(n, horizon)` with a loss on points.

        Raises:
            ModelError: the model does not return a prediction, or returns one for each of several targets.
        """
        x, _ = _unpack(batch)
        output = model(x)
        if isinstance(output, Mapping):
            output = output.get("prediction")
        elif not isinstance(output, Tensor):
            output = getattr(output, "prediction", None)
        if not isinstance(output, Tensor):
            raise ModelError(
                f"The model's prediction is {_kind(output)}",
                expected="one tensor, returned directly or as `prediction`",
                remedy="If the dataset has several targets, choose one",
            )
        return self._match_target_shape(output, self.target(batch))

    def target(self, batch: ForecastBatch) -> Tensor:
        """The targets, `(n, horizon)`.

        Raises:
            DataError: there are several targets, there are sample weights, or samples differ in their horizon.
        """
        x, (y, weight) = _unpack(batch)
        if not isinstance(y, Tensor):
            raise DataError(
                f"The batch's target is {_kind(y)}",
                expected="one target, a tensor (n, horizon)",
                remedy="Give `TimeSeriesDataSet` a single `target`, not a list",
            )
        if weight is not None:
            raise DataError(
                "The batch has sample weights, which methods and metrics do not support",
                expected="`(x, (y, None))`",
                remedy="Create `TimeSeriesDataSet` without `weight`",
            )
        lengths = x.get("decoder_lengths")
        # Shorter horizons are padded with zeros, which are not targets.
        if lengths is not None and bool((lengths != y.shape[1]).any()):
            raise DataError(
                f"Samples of a batch have horizons of {int(lengths.min())} to {int(lengths.max())} steps",
                expected="the same horizon for all samples",
                remedy="Give `TimeSeriesDataSet` a `min_prediction_length` equal to `max_prediction_length`",
            )
        return y

    def select(self, batch: ForecastBatch, rows: Tensor) -> ForecastBatch:
        """Select rows of a batch, and cut the padding to the longest encoder among them.

        Models take the longest encoder of the batch as the end of the encoder: padding beyond it would be read as
        inputs of the forecast.
        """
        x, y = super().select(batch, rows)
        x = dict(x)
        lengths = x.get("encoder_lengths")
        if lengths is not None and len(lengths):
            longest = int(lengths.max())
            for name in ("encoder_cat", "encoder_cont", "encoder_target"):
                if isinstance(x.get(name), Tensor):
                    x[name] = x[name][:, :longest]
        return x, y


def _unpack(batch: ForecastBatch) -> tuple[Mapping[str, Any], tuple[Any, Any]]:
    """Split a batch into x and (y, weight).

    Raises:
        DataError: the batch has another structure.
    """
    if isinstance(batch, (list, tuple)) and len(batch) == 2:
        x, given = batch
        if isinstance(x, Mapping) and isinstance(given, (list, tuple)) and len(given) == 2:
            return x, (given[0], given[1])
    raise DataError(
        f"The batch is {_kind(batch)}, in another structure",
        expected="`(x, (y, weight))`, as made by pytorch-forecasting",
        remedy="Pass `collate=` (for a `TimeSeriesDataSet` its `_collate_fn`), or use another task adapter",
    )


def _kind(value: Any) -> str:
    """The type of a value, and its length if it is a list or tuple."""
    if value is None:
        return "missing"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")
